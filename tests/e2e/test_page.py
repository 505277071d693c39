import io
import wave

import numpy as np
import pytest
from PIL import Image

from service.gallery.items import gallery_items

GALLERY = {item.id: item for item in gallery_items()}
KINDS = ["image", "audio", "point_cloud", "text"]


def upload(item):
    return {"name": item.filename, "mimeType": "application/octet-stream", "buffer": item.data}


def wait_for_the_results(page):
    """Wait until the results are those of the last search."""
    page.wait_for_selector("#results[aria-busy=false]")


def only(page, kind):
    for other in KINDS:
        page.set_checked(f"#targets [value={other}]", other == kind, force=True)
    wait_for_the_results(page)


def search(page, text):
    page.fill("#text", text)
    with page.expect_response("**/search"):
        page.click("#search")
    wait_for_the_results(page)


def cards(page, kind=None):
    return page.locator("article" if kind is None else f"article[data-modality={kind}]")


def drop(page, item):
    """Drop a file on the page as a person does: with a DataTransfer that carries it."""
    carried = page.evaluate_handle(
        """([name, bytes]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], name));
            return carried;
        }""",
        [item.filename, list(item.data)],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": carried})
    assert page.is_visible("#veil")
    with page.expect_response("**/search") as reply:
        page.dispatch_event("body", "drop", {"dataTransfer": carried})
    assert not page.is_visible("#veil")
    wait_for_the_results(page)
    return reply.value.json()["hits"]


def tone(frequency):
    samples = (np.sin(2 * np.pi * frequency * np.arange(16_000) / 16_000) * 12_000).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return buffer.getvalue()


def picture(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_at_first_the_page_shows_what_is_stored_of_every_kind(page):
    assert page.title().startswith("Isthmus")
    assert "ready" in page.inner_text("#state")
    assert all(cards(page, kind).count() >= 6 for kind in KINDS)


def test_a_text_finds_pictures_that_are_shown_with_score_and_cosine(page):
    only(page, "image")
    search(page, "a dog barking")
    assert cards(page).count() == cards(page, "image").count() >= 6
    first = cards(page).first
    assert 0 <= float(first.locator(".score").inner_text()) <= 1
    assert -1 <= float(first.locator(".cosine").inner_text().removeprefix("cos ")) <= 1
    first.locator("img").evaluate("image => image.decode()")
    assert first.locator("img").evaluate("image => image.naturalWidth") >= 128


def test_a_dropped_sound_finds_things_of_every_kind(page):
    hits = drop(page, GALLERY["audio/dog"])
    assert hits[0]["id"] == "audio/dog" or any(hit["id"] == "audio/dog" for hit in hits)
    assert page.locator(".part .name").inner_text() == "dog.ogg"
    assert {kind for kind in KINDS if cards(page, kind).count()} == set(KINDS)
    assert cards(page, "audio").first.get_attribute("data-id") == "audio/dog"


def test_a_sound_draws_its_waveform_and_plays(page):
    player = page.locator("article[data-modality=audio]").first
    player.scroll_into_view_if_needed()
    page.wait_for_function("""() => {
        const canvas = document.querySelector("article[data-modality=audio] canvas");
        const pixels = canvas?.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels?.some((value, i) => i % 4 === 3 && value > 0);
    }""")
    player.locator("button.play").click()
    page.wait_for_function(
        "() => document.querySelector('article[data-modality=audio] audio').currentTime > 0.05"
    )
    assert player.locator("button.play").get_attribute("aria-label").startswith("Pause")
    player.locator("button.play").click()
    page.wait_for_function("() => document.querySelector('article[data-modality=audio] audio').paused")


def test_a_shape_is_drawn_and_turns(page):
    only(page, "point_cloud")
    canvas = page.locator("article[data-modality=point_cloud] canvas").first
    canvas.scroll_into_view_if_needed()
    drawn = """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
        .reduce((sum, value, i) => sum + (i % 4 === 3 && value > 0 ? 1 : 0), 0)"""
    page.wait_for_function(
        """() => document.querySelector("article[data-modality=point_cloud] canvas.cloud")
            ?.getContext("2d").getImageData(0, 0, 360, 360).data.some(value => value > 0)"""
    )
    assert canvas.evaluate(drawn) > 2000
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.wait_for_function(
        "([canvas, before]) => canvas.toDataURL() !== before", arg=[canvas.element_handle(), before]
    )


def test_more_like_this_searches_by_the_stored_item(page):
    page.locator("section[data-kind=image]").get_by_role("button", name="See more").click()
    dog = page.locator("article[data-id='image/dog']")
    with page.expect_response("**/search"):
        dog.get_by_role("button", name="More like a dog").click()
    wait_for_the_results(page)
    assert page.locator(".part .name").inner_text() == "like: a dog with a red collar"
    assert cards(page, "image").first.get_attribute("data-id") == "image/dog"


def test_parts_are_weighted_and_taken_away(page):
    drop(page, GALLERY["image/bell"])
    with page.expect_response("**/search"):
        page.locator("article[data-modality=image] [aria-label^='Add ']").nth(1).click()
    wait_for_the_results(page)
    sliders = page.locator(".part input[type=range]")
    assert sliders.count() == 2
    before = cards(page, "image").first.locator(".cosine").inner_text()
    with page.expect_response("**/search") as reply:
        sliders.nth(1).fill("-0.9")
    wait_for_the_results(page)
    assert reply.value.ok and page.locator(".part output").nth(1).inner_text() == "−0.9"
    assert cards(page, "image").first.locator(".cosine").inner_text() != before
    with page.expect_response("**/search"):
        page.get_by_role("button", name="Remove bell.png").click()
    wait_for_the_results(page)
    assert page.locator(".part").count() == 1


def test_what_is_added_is_shown_and_found_from_then_on(page, api):
    page.fill("#text", "a purple hippopotamus on a bicycle")
    page.set_input_files("#files", [{"name": "tone.wav", "mimeType": "audio/wav", "buffer": tone(440)}])
    wait_for_the_results(page)
    with page.expect_response("**/embed"):
        page.click("#store")
    page.wait_for_selector("[data-kind=added]")
    wait_for_the_results(page)
    assert page.inner_text("#summary") == "Added 2 items to the index"
    added = [card.get_attribute("data-id") for card in cards(page).all()]
    try:
        search(page, "a purple hippopotamus on a bicycle")
        assert cards(page, "text").first.get_attribute("data-id") in added
        page.reload()
        page.wait_for_selector("article")
        assert "like" not in page.inner_text("#parts")
    finally:
        for point in added:
            assert api.delete(f"/points/{point}").status_code == 200


def test_a_text_of_which_no_word_is_known_is_told_and_not_added(page, api):
    before = api.get("/collections/default/count").json()["count"]
    search(page, "\U0001fae0")
    page.wait_for_selector("#notice:visible")
    assert page.inner_text("#notice") == (
        "The encoder knows no word of a text: what is found has nothing to do with it."
    )
    with page.expect_response("**/embed"):
        page.click("#store")
    wait_for_the_results(page)
    assert page.inner_text("#notice") == "The encoder knows no word of a text: it was not added."
    assert page.inner_text("#summary") == "Added 0 items to the index"
    assert api.get("/collections/default/count").json()["count"] == before
    search(page, "a dog")
    assert not page.is_visible("#notice")


def test_what_is_there_already_is_not_called_added(page, api):
    (item,) = api.post("/embed", json={"items": [{"text": "a teapot of glass"}]}).json()["items"]
    try:
        page.fill("#text", "a teapot of glass")
        wait_for_the_results(page)
        with page.expect_response("**/embed"):
            page.click("#store")
        page.wait_for_selector("[data-kind=added]")
        wait_for_the_results(page)
        assert page.inner_text("#summary") == "Added 0 items to the index (1 was there already)"
    finally:
        assert api.delete(f"/points/{item['id']}").status_code == 200


def test_a_file_that_cannot_be_read_is_an_error_in_the_services_words(page):
    with page.expect_response("**/search") as reply:
        page.set_input_files(
            "#files", [{"name": "fake.png", "mimeType": "image/png", "buffer": b"no picture"}]
        )
    assert 400 <= reply.value.status < 500
    page.wait_for_selector("#notice:visible")
    assert page.inner_text("#notice").splitlines()[0] == reply.value.json()["error"]["message"]
    assert "fake.png" in page.inner_text("#notice")
    page.console_errors[:] = [each for each in page.console_errors if "Failed to load resource" not in each]
    page.get_by_role("button", name="Remove fake.png").click()
    wait_for_the_results(page)
    assert not page.is_visible("#notice")


def test_names_texts_and_metadata_are_shown_and_never_run(page, api):
    attack = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>'
    reply = api.post(
        "/embed",
        files=[("files", (f"{attack}.png", picture("teal"), "image/png"))],
        data={"texts": attack, "metadata": f'{{"caption": "{attack.replace(chr(34), chr(92) + chr(34))}"}}'},
    )
    points = [item["id"] for item in reply.raise_for_status().json()["items"]]
    try:
        search(page, attack)
        assert page.locator(f"article[data-id='{points[1]}'] blockquote").inner_text() == attack
        page.fill("#text", "")
        with page.expect_response("**/search"):
            page.set_input_files(
                "#files", [{"name": f"{attack}.png", "mimeType": "image/png", "buffer": picture("teal")}]
            )
        wait_for_the_results(page)
        assert page.locator(f"article[data-id='{points[0]}'] h3").inner_text() == attack
        assert page.evaluate("window.hacked") is None
        assert page.locator("article img[onerror], main script").count() == 0
    finally:
        for point in points:
            api.delete(f"/points/{point}")


def let_it_record(page):
    """The recording is as long as this takes: long enough to be searched with."""
    page.wait_for_timeout(700)


def test_a_recorded_sound_is_searched_with(page):
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=true]")
    let_it_record(page)
    with page.expect_response("**/search") as reply:
        page.click("#record")
    assert reply.value.ok, reply.value.text()
    assert page.locator(".part .name").inner_text() == "recording.webm"


def test_the_keyboard_is_enough_to_search(page):
    page.focus("#text")
    page.keyboard.type("rain")
    with page.expect_response("**/search"):
        page.keyboard.press("Enter")
    wait_for_the_results(page)
    assert "results" in page.inner_text("#summary")


def test_without_a_kind_to_find_the_page_says_so(page):
    for kind in KINDS:
        page.set_checked(f"#targets [value={kind}]", False, force=True)
    assert "at least one kind" in page.inner_text("#summary")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_systems_theme_and_the_button(page, scheme):
    page.emulate_media(color_scheme=scheme)
    brightness = (
        "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + +b, 0) / 3"
    )
    at_first = page.evaluate(brightness)
    assert (at_first > 128) == (scheme == "light")
    page.click("#theme")
    assert (page.evaluate(brightness) > 128) != (at_first > 128)
