//! A function for `provided.al2023` with AWS's own `lambda_runtime`: greets, and does what an event's
//! `action` asks for (the tests use that).

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("FAIL_INIT").is_ok() {
        return Err("told to fail in INIT".into());
    }
    run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<FunctionResponse<Value, Body>, Error> {
    match event.payload.get("action").and_then(Value::as_str) {
        Some("stream") => Ok(FunctionResponse::StreamingResponse(stream(&event.payload))),
        _ => answer(event).await.map(FunctionResponse::BufferedResponse),
    }
}

/// `count` lines, one every `ms` milliseconds.
fn stream(payload: &Value) -> Response<Body> {
    let number = |name| payload.get(name).and_then(Value::as_u64).unwrap_or(1);
    let (count, pause) = (number("count"), std::time::Duration::from_millis(number("ms")));
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        for at in 0..count {
            if at > 0 {
                tokio::time::sleep(pause).await;
            }
            if sender.send_data(format!("line {at}\n").into()).await.is_err() {
                return;
            }
        }
    });
    Response::from(body)
}

async fn answer(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (payload, context) = event.into_parts();
    match payload.get("action").and_then(Value::as_str) {
        Some("echo") => Ok(payload),
        Some("fail") => Err("told to fail".into()),
        Some("exit") => std::process::exit(7),
        Some("env") => {
            Ok(std::env::vars().map(|(name, value)| (name, Value::from(value))).collect::<serde_json::Map<_, _>>().into())
        }
        Some("context") => Ok(json!({
            "request_id": context.request_id,
            "deadline": context.deadline,
            "invoked_function_arn": context.invoked_function_arn,
            "xray_trace_id": context.xray_trace_id,
            "client_context": context.client_context,
            "function_name": context.env_config.function_name,
        })),
        _ => {
            let name = payload.get("name").and_then(Value::as_str).unwrap_or("world");
            println!("greeting {name}");
            Ok(json!({ "message": format!("Hello, {name}!"), "request_id": context.request_id }))
        }
    }
}
