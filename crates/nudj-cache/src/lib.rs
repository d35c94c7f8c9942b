//! Cache levels behind one trait, and an HTTP caching Tower layer
