//! CPU conversion of every format in the table to RGBA8, NV12 and I420.
