//! Compiles the C++ part of the FAISS binding.

fn main() {
    println!("cargo::rerun-if-changed=src/faiss/shim.cpp");
    #[cfg(feature = "faiss")]
    cc::Build::new().cpp(true).std("c++17").file("src/faiss/shim.cpp").compile("turnout_faiss");
}
