//! An extension with AWS's own `lambda-extension`: says which events it is told of (the tests use that).

use lambda_extension::{Error, LambdaEvent, NextEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(told)).await
}

async fn told(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Invoke(invoke) => println!("extension: invoke {} of {}", invoke.request_id, invoke.invoked_function_arn),
        NextEvent::Shutdown(shutdown) => {
            println!("extension: shutdown {}", shutdown.shutdown_reason);
            std::process::exit(0);
        }
    }
    Ok(())
}
