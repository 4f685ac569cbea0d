//! Custom runtimes, over the Runtime API.

use std::sync::Arc;

use lambkin_core::invoke::Invoker;

use crate::support::{World, invocation, spec, tail, text};

/// Echoes events; what an event says it does otherwise.
const BOOTSTRAP: &str = r#"
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
def call(method, path, body=None, headers={}):
    api.request(method, '/2018-06-01/runtime/' + path, body, headers)
    reply = api.getresponse()
    return reply, reply.read()
print('starting')
count = 0
while True:
    reply, event = call('GET', 'invocation/next')
    id = reply.getheader('Lambda-Runtime-Aws-Request-Id')
    count += 1
    if event == b'"fail"':
        call('POST', 'invocation/%s/error' % id, b'{"errorMessage":"m"}',
             {'Lambda-Runtime-Function-Error-Type': 'Function.MyError'})
    elif event == b'"exit"':
        sys.exit(5)
    elif event == b'"large"':
        reply, body = call('POST', 'invocation/%s/response' % id, b'x' * 6291557)
        sys.stdout.write('%d %s\n' % (reply.status, body.decode()))
    else:
        answer = {'event': json.loads(event), 'count': count, 'cwd': os.getcwd(),
                  'arn': reply.getheader('Lambda-Runtime-Invoked-Function-Arn'),
                  'trace': reply.getheader('Lambda-Runtime-Trace-Id')[:7],
                  'execution': os.environ.get('AWS_EXECUTION_ENV')}
        sys.stdout.write('got %s\n' % event.decode())
        call('POST', 'invocation/%s/response' % id, json.dumps(answer))
"#;

pub(crate) async fn events_and_errors_over_http() {
    let world = World::new();
    let spec = Arc::new(world.custom("custom", BOOTSTRAP));
    let outcome = world.invoke(&spec, "[1]").await.unwrap();
    assert_eq!(
        text(&outcome.payload),
        r#"{"event": [1], "count": 1, "cwd": "/var/task", "arn": "arn:aws:lambda:us-east-1:000000000000:function:f", "trace": "Root=1-", "execution": null}"#
    );
    let tail_text = tail(&outcome);
    assert!(
        tail_text.starts_with("INIT_START Runtime Version: provided.al2023 (host)\nstarting\nSTART "),
        "{tail_text}"
    );
    assert!(tail_text.contains("\ngot [1]\nEND RequestId: "), "{tail_text}");

    assert_eq!(world.fail(&spec, "\"fail\"").await, r#"{"errorMessage":"m"}"#);
    let large = world.invoke(&spec, "\"large\"").await.unwrap();
    assert!(text(&large.payload).contains("Function.ResponseSizeTooLarge"));
    assert!(world.call(&spec, "{}").await.contains(r#""count": 4"#));
    let refused = r#"413 {"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).","errorType":"RequestEntityTooLarge"}"#;
    assert!(world.logs.messages("/aws/lambda/custom").iter().any(|line| line.trim_end() == refused));

    let id = {
        let invocation = invocation("\"exit\"");
        let id = invocation.request_id.clone();
        let outcome = world.engine.invoke(Arc::clone(&spec), invocation).await.unwrap();
        assert!(text(&outcome.payload).contains("Runtime exited with error: exit status 5"), "{outcome:?}");
        id
    };
    let lines = world.logs.messages("/aws/lambda/custom");
    assert!(lines.iter().any(|line| line.contains(&id) && line.ends_with("\nRuntime.ExitError\n")));
    assert!(world.call(&spec, "{}").await.contains(r#""count": 1"#));
    world.end().await;
}

pub(crate) async fn bootstrap_that_ends_in_init() {
    let world = World::new();
    let spec = Arc::new(world.custom("ending", "print('no')\n"));
    let error = world.fail(&spec, "{}").await;
    assert!(error.contains("Runtime exited without providing a reason"), "{error}");
    world.end().await;
}

pub(crate) async fn bootstrap_is_missing() {
    let world = World::new();
    let spec = Arc::new(spec("empty", "provided.al2023", &world.folder("empty", &[("readme", "")])));
    let outcome = world.invoke(&spec, "{}").await.unwrap();
    let error = text(&outcome.payload);
    assert!(
        error.starts_with(r#"{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: "#),
        "{error}"
    );
    assert!(
        error
            .ends_with(r#" Error: Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"}"#),
        "{error}"
    );
    assert!(tail(&outcome).ends_with("\tStatus: error\tError Type: Runtime.InvalidEntrypoint\n"));
    world.end().await;
}

pub(crate) async fn bootstrap_cannot_be_executed() {
    let world = World::new();
    let run = async |name: &str, file: &str, content: &str| {
        let spec = Arc::new(spec(name, "provided.al2023", &world.folder(name, &[(file, content)])));
        world.fail(&spec, "{}").await
    };
    let error = run("plain", "bootstrap", "#!/bin/sh\n").await;
    assert!(error.contains("Error: fork/exec /var/task/bootstrap: permission denied"), "{error}");
    let error = run("lost", "bootstrap!", "#!/no/such/shell\n").await;
    assert!(error.contains("Error: fork/exec /var/task/bootstrap: no such file or directory"), "{error}");
    let error = run("odd", "bootstrap!", "\u{7f}ELF no more").await;
    assert!(error.contains("Error: fork/exec /var/task/bootstrap: exec format error"), "{error}");
    world.end().await;
}

pub(crate) async fn layers_are_merged() {
    let world = World::new();
    let mut function = spec("layered", "provided.al2", &world.folder("layered", &[("data", "")]));
    let bootstrap = format!(
        "#!/usr/bin/python3 -u\nprint(open('/opt/text').read() + ' ' + open('/opt/one').read())\n{BOOTSTRAP}"
    );
    function.layers = vec![
        world.folder("layer-1", &[("text", "first"), ("one", "1"), ("bootstrap!", "#!/bin/false\n")]),
        world.folder("layer-2", &[("text", "second"), ("bootstrap!", &bootstrap)]),
    ];
    let outcome = world.invoke(&Arc::new(function), "{}").await.unwrap();
    assert_eq!(outcome.function_error, None, "{outcome:?}");
    assert!(world.logs.messages("/aws/lambda/layered").contains(&"second 1\n".to_owned()));
    world.end().await;
}
