#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lambkin_fuzz::event_pattern::run(data));
