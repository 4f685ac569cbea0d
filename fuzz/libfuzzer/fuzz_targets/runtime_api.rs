#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lambkin_fuzz::runtime_api::run(data));
