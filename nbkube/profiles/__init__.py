"""Profiles: named answers to where runs are carried out, with which store, and what notebooks may ask for."""

from __future__ import annotations

from nbkube.profiles.model import Allowed, DefaultResources, Profile, Profiles, StoreAccess
from nbkube.profiles.read import load_profile, load_profiles, user_file

__all__ = [
    "Allowed",
    "DefaultResources",
    "Profile",
    "Profiles",
    "StoreAccess",
    "load_profile",
    "load_profiles",
    "user_file",
]
