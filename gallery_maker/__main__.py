"""`python -m gallery_maker [--only KIND]`: make the gallery's media and their list anew."""

from gallery_maker.make import main

if __name__ == "__main__":
    main()
