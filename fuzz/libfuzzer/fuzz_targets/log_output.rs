#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lambkin_fuzz::log_output::run(data));
