//! Catalogues, stamps and pictures on disk.
