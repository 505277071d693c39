"""The maker of the sample gallery, which `service.gallery` ships: `python -m gallery_maker [--only KIND]`."""
