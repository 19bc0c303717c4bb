"""`python -m hosted`: serve the agent here, on port 8080 (PORT for another one)."""

from hosted.app import main

if __name__ == "__main__":
    main()
