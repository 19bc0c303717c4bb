"""The weather, made up but always the same for a place."""

import zlib

from agents.tools.registry import tool

SKIES = ("sunny", "cloudy", "light rain", "clear", "foggy", "windy")


@tool(risk="low", idempotent=True)
def get_weather(city: str = "here") -> str:
    """Say what the weather is like in a city. This is demo data, not a real forecast.

    Args:
        city: The name of the city.
    """
    place = " ".join(city.split()) or "here"
    # crc32, since hash() differs from process to process.
    dice = zlib.crc32(place.casefold().encode(errors="replace"))
    where = place if place == "here" else f"in {place}"
    return f"{SKIES[dice % len(SKIES)]}, {8 + dice // 7 % 20} °C {where}"
