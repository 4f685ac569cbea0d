//! Load generator and floors for `bench/run`.
//!
//! - `load ADDRESS CLIENTS SECONDS REQUEST_FILE`: keep-alive HTTP/1.1, the same request over and over
//! - `spawn COUNT PROGRAM [ARGUMENT ...]`: how long a process takes from spawn to exit
//! - `floor-echo ADDRESS`: an HTTP server that answers the body
//! - `floor-pair ADDRESS COUNT LANGUAGE PROGRAM`: HTTP, then a socket pair to one of COUNT loops in `python` or `node`
//! - `floor-runtime ADDRESS COUNT PROGRAM`: HTTP, then the shortest Runtime API to one of COUNT processes

mod floors;
mod load;
mod spawn;

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["load", address, clients, seconds, request] => {
            load::run(address.parse()?, clients.parse()?, seconds.parse()?, std::fs::read(request)?)
        }
        ["spawn", count, program, arguments @ ..] => spawn::run(count.parse()?, program, arguments),
        ["floor-echo", address] => floors::serve(address.parse()?, floors::Floor::Echo),
        ["floor-pair", address, count, language, program] => {
            floors::serve(address.parse()?, floors::Floor::pair(count.parse()?, language, program)?)
        }
        ["floor-runtime", address, count, program] => floors::serve(
            address.parse()?,
            floors::Floor::Runtime { count: count.parse()?, program: (*program).into() },
        ),
        _ => Err("usage: see src/main.rs".into()),
    }
}
