#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lambkin_fuzz::http::run(data));
