"""Sounds that soundfile does not write: by FFmpeg's encoders, or a few lines of the formats themselves."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import samples


def encoded(form: str, codec: str, sound: np.ndarray, rate: int, bit_rate: int | None = None) -> bytes:
    """Float [samples] or [samples, channels] as FFmpeg writes it, in the codec's first sample format."""
    sound = sound.reshape(len(sound), -1)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[sound.shape[1]]
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        track = container.add_stream(codec, rate=rate, **({"bit_rate": bit_rate} if bit_rate else {}))
        track.layout = layout
        sample_format = track.codec_context.codec.audio_formats[0].name
        track.format = sample_format
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound.T, np.float32), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        queue = av.AudioFifo()
        for part in av.AudioResampler(format=sample_format).resample(frame):
            queue.write(part)
        while (part := queue.read(track.codec_context.frame_size or 1024, partial=True)) is not None:
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    return out.getvalue()


def by_ffmpeg(data: bytes, form: str) -> list[tuple[int, np.ndarray]]:
    """An independent reading: rate and mono samples of each run of one rate; damaged packets are skipped."""
    runs: list[tuple[int, list[np.ndarray]]] = []
    with av.open(io.BytesIO(data), format=form) as container:
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if not runs or runs[-1][0] != frame.sample_rate:
                    runs.append((frame.sample_rate, []))
                for part in av.AudioResampler(format="flt", layout="mono").resample(frame):
                    runs[-1][1].append(part.to_ndarray()[0].copy())
    return [(rate, np.concatenate(parts)) for rate, parts in runs]


def seconds_by_ffmpeg(data: bytes, form: str) -> float:
    return sum(len(wave) / rate for rate, wave in by_ffmpeg(data, form))


class Bits:
    """Bits on their way into bytes, the highest first."""

    def __init__(self) -> None:
        self.number, self.count = 0, 0

    def put(self, value: int, width: int) -> None:
        self.number = self.number << width | value & (1 << width) - 1
        self.count += width

    def bytes(self) -> bytes:
        self.put(0, -self.count % 8)
        return self.number.to_bytes(self.count // 8, "big")


def crc(data: bytes, polynomial: int, width: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << width - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> width - 1 else 0)) & (1 << width) - 1
    return value


def flac(sound: np.ndarray, rate: int, bits: int, block: int = 4096) -> bytes:
    """Mono FLAC of any depth, its samples verbatim. Source: RFC 9639."""
    whole = np.round(np.float64(sound) * ((1 << bits - 1) - 1)).astype(np.int64)
    info = Bits()
    for value, width in ((block, 16), (block, 16), (0, 24), (0, 24), (rate, 20), (0, 3), (bits - 1, 5)):
        info.put(value, width)
    info.put(len(whole), 36)
    info.put(0, 128)
    out = b"fLaC\x80\x00\x00\x22" + info.bytes()
    for number, start in enumerate(range(0, len(whole), block)):
        part = whole[start : start + block]
        head = Bits()
        # Sync, fixed blocks; length at the end (16 bits), rate and depth of STREAMINFO; mono.
        for value, width in ((0x3FFE, 14), (0, 2), (7, 4), (0, 4), (0, 4), (0, 3), (0, 1), (number, 8)):
            head.put(value, width)
        head.put(len(part) - 1, 16)
        frame = head.bytes()
        frame += bytes([crc(frame, 0x07, 8)])
        body = Bits()
        body.put(0b00000010, 8)  # a verbatim subframe
        for value in part:
            body.put(int(value), bits)
        frame += body.bytes()
        out += frame + struct.pack(">H", crc(frame, 0x8005, 16))
    return out


def ogg_page(serial: int, number: int, granule: int, flags: int, packets: list[bytes]) -> bytes:
    """One page of whole packets, with its checksum. Source: RFC 3533, section 6."""
    lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    head = b"OggS\0" + struct.pack("<BqIII", flags, granule, serial, number, 0) + bytes([len(lacing)])
    return sealed(bytearray(head + lacing + b"".join(packets)))


def ogg_pages(data: bytes) -> list[bytearray]:
    """The pages of an Ogg file, to be changed and sealed again."""
    pages, position = [], 0
    while position < len(data):
        segments = data[position + 26]
        end = position + 27 + segments + sum(data[position + 27 : position + 27 + segments])
        pages.append(bytearray(data[position:end]))
        position = end
    return pages


def sealed(page: bytearray) -> bytes:
    """The page with the checksum of what it holds now."""
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", crc(bytes(page), 0x04C11DB7, 32))
    return bytes(page)


def speex(frames: int = 50) -> bytes:
    """Narrowband Speex, 20 ms a frame: any bits are one of mode 3. Source: the Speex manual, section 10."""
    header = b"Speex   " + b"1.2".ljust(20, b"\0")
    header += struct.pack("<13i", 1, 80, 8000, 0, 4, 1, 8000, 160, 0, 1, 0, 0, 0)
    noise = np.random.default_rng(0)
    packets = []
    for _ in range(frames):
        bits = Bits()
        bits.put(0, 1)  # narrowband
        bits.put(3, 4)
        for value in noise.integers(0, 2, 155):
            bits.put(int(value), 1)
        packets.append(bits.bytes())
    comments = struct.pack("<I4sI", 4, b"test", 0)
    return (
        ogg_page(7, 0, 0, 2, [header])
        + ogg_page(7, 1, 0, 0, [comments])
        + ogg_page(7, 2, frames * 160, 4, packets)
    )


def dsf(sound: np.ndarray, rate: int = 2_822_400) -> bytes:
    """Mono DSD of a sound at `rate`: each sample pushes the running sum up or down. Source: DSF 1.01."""
    bits = np.zeros(len(sound), np.uint8)
    error = 0.0
    for i, value in enumerate(sound):
        error += value
        bits[i] = error > 0
        error -= 1.0 if error > 0 else -1.0
    packed = np.packbits(bits, bitorder="little").tobytes()
    packed += b"\x69" * (-len(packed) % 4096)
    form = struct.pack("<4sQIIIIIIQII", b"fmt ", 52, 1, 0, 1, 1, rate, 1, len(sound), 4096, 0)
    data = struct.pack("<4sQ", b"data", 12 + len(packed)) + packed
    return struct.pack("<4sQQQ", b"DSD ", 28, 28 + len(form) + len(data), 0) + form + data


def wav(codec: int, data: bytes, size: int | None = None, rate: int = samples.RATE) -> bytes:
    """Mono wave file of 16 bits, whose header may lie about the size of its samples."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, codec, 1, rate, rate * 2, 2, 16)
    told = len(data) if size is None else size
    riff = struct.pack("<4sI4s", b"RIFF", min(told + 36, 0xFFFFFFFF), b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", told) + data
