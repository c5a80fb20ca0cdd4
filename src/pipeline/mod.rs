//! From an exposure to a catalogue.
