//! A spawner and nothing else, for tests and benchmarks whose own `main` cannot be one.

fn main() {
    lambkin_sandbox::run_spawner_if_asked();
}
