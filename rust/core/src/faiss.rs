//! FAISS, opened at run time from the library that pip installed (`faiss-cpu` or `faiss-gpu`).
//!
//! The wheels bring C++ functions and no C interface. Three things are looked up by name: a function that reads an index, the
//! version, and the place of the virtual functions `search` and the destructor in the tables of virtual functions, which is the same
//! for every kind of index. Nobody promises that these stay as they are. So the version must lie in a known range, and before the first
//! use a small index is read and searched and must give the known answer. Files are checked field by field before FAISS reads them.

mod file;
mod index;
mod library;

pub(crate) use index::FaissIndex;
pub use index::LiveIndex;
