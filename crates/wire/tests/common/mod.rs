//! A server on loopback whose services echo what they are asked.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambkin_model::handler::BoxFuture;
use lambkin_model::schema::{Operation, Service};
use lambkin_model::{AwsError, Caller, Input, Output, RequestContext, ServiceHandler, lambda, logs, sts};
use lambkin_wire::{Authenticator, Front, FrontConfig, Limits, Lookup, Mode, ServeOptions, serve};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const TOKEN: &str = "IQoJb3JpZ2luX2VjE//////+token==";

struct Keys;

impl Authenticator for Keys {
    fn lookup(&self, access_key_id: &str, session_token: Option<&str>) -> Lookup {
        match (access_key_id, session_token) {
            (KEY, None | Some(TOKEN)) => Lookup::Found {
                secret: SECRET.into(),
                caller: Arc::new(Caller {
                    account: "111122223333".into(),
                    arn: "arn:aws:iam::111122223333:user/u".to_owned(),
                    user_id: "AIDAEXAMPLE".to_owned(),
                    access_key_id: KEY.to_owned(),
                    principal: lambkin_model::Principal::Root,
                }),
            },
            (KEY, Some(_)) => Lookup::ExpiredToken,
            _ => Lookup::UnknownKey,
        }
    }
}

struct Echo {
    schema: &'static Service,
    /// A call of function `waits` needs one permit of the second and adds one to the first when it begins.
    begun: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl ServiceHandler for Echo {
    fn schema(&self) -> &'static Service {
        self.schema
    }

    fn call<'a>(
        &'a self,
        context: &'a RequestContext,
        operation: &'static Operation,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, AwsError>> {
        Box::pin(async move {
            let name = input.members["FunctionName"].as_str().unwrap_or_default();
            if name == "waits" {
                self.begun.add_permits(1);
                self.go.acquire().await.unwrap().forget();
            }
            let members = match operation.name {
                "Invoke" => {
                    let members = json!({"StatusCode": 200, "ExecutedVersion": "$LATEST", "LogResult": name});
                    return Ok(Output { members, payload: input.payload, events: None });
                }
                "GetFunction" if name == "none" => {
                    return Err(AwsError::new("ResourceNotFoundException", 404, "Function not found: none"));
                }
                "GetFunction" => {
                    json!({"Configuration": {"FunctionName": name}, "Tags": {"q": input.members["Qualifier"]}})
                }
                "CreateFunction" => json!({
                    "FunctionName": name, "MemorySize": input.members["MemorySize"],
                    "CodeSize": input.members["Code"]["ZipFile"].as_str().map_or(0, str::len),
                    "Environment": input.members["Environment"],
                }),
                "ListTags" => json!({"Tags": {"arn": input.members["Resource"]}}),
                "UntagResource" => {
                    let keys = input.members["TagKeys"].as_array().map_or(0, Vec::len);
                    return Err(AwsError::new("ServiceException", 500, format!("{keys} keys")));
                }
                "GetCallerIdentity" => json!({
                    "Account": context.caller.account.as_ref(), "Arn": context.caller.arn,
                    "UserId": context.region.as_ref(),
                }),
                "GetSessionToken" => json!({
                    "Credentials": {
                        "AccessKeyId": "ASIA000000000000", "SecretAccessKey": "s", "SessionToken": "t",
                        "Expiration": 1_795_435_200,
                    }
                }),
                "GetLogEvents" => json!({
                    "events": [{"timestamp": 1, "message": input.members["logGroupName"], "ingestionTime": 2}],
                }),
                "CreateLogGroup" => json!({}),
                _ => return Err(AwsError::not_implemented(self.schema.name, operation.name)),
            };
            Ok(Output { members, ..Output::default() })
        })
    }
}

/// A running server. Dropped, it goes on until the runtime ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) begun: Arc<Semaphore>,
    pub(crate) go: Arc<Semaphore>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(mode: Mode, options: ServeOptions) -> Self {
        let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let services = [&lambda::SERVICE, &logs::SERVICE, &sts::SERVICE]
            .into_iter()
            .map(|schema| {
                let echo = Echo { schema, begun: Arc::clone(&begun), go: Arc::clone(&go) };
                Arc::new(echo) as Arc<dyn ServiceHandler>
            })
            .collect();
        let front = Front::new(FrontConfig {
            services,
            authenticator: Arc::new(Keys),
            mode,
            default_region: "us-east-1".into(),
            now: Arc::new(now),
            internal: None,
            limits: Limits::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, Arc::new(front), options, async {
            let _ = stopped.await;
        }));
        Self { address, begun, go, stop: Some(stop), served }
    }

    /// Asks the server to stop.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(self) {
        self.served.await.unwrap();
    }
}

#[allow(clippy::disallowed_methods, reason = "signers outside this process use the real time")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}
