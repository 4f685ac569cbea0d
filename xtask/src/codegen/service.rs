//! `service.rs`: the trait of a service, and the dispatch from an operation's name to its method.

use std::fmt::Write as _;

use anyhow::Result;

use super::names;
use super::shapes::Source;

/// Renders `service.rs`.
pub(crate) fn render(source: &Source<'_>) -> Result<String> {
    let trait_name = source.entry.trait_name;
    let service = source.entry.name;
    let mut methods = String::new();
    let mut arms = String::new();
    for (name, operation) in source.typed_operations() {
        let method = names::identifier(name);
        let output = match &operation.output {
            Some(output) => source.type_name(&output.shape)?,
            None => "()",
        };
        let (parameter, unused, argument) = match &operation.input {
            Some(input) => (
                format!(", input: super::{}", source.type_name(&input.shape)?),
                "(context, input)",
                "context, input",
            ),
            None => (String::new(), "context", "context"),
        };
        let output = if output == "()" { output.to_owned() } else { format!("super::{output}") };
        writeln!(
            methods,
            "fn {method}(&self, context: &RequestContext{parameter}) -> \
             impl Future<Output = Result<{output}, AwsError>> + Send {{
                let _ = {unused};
                ready(Err(AwsError::not_implemented({service:?}, {name:?})))
            }}
            "
        )?;
        match &operation.input {
            Some(_) => writeln!(arms, "{name:?} => typed(input, move |input| self.0.{method}({argument})),")?,
            None => writeln!(arms, "{name:?} => without_input(move || self.0.{method}({argument})),")?,
        }
    }
    let mut helpers = Vec::new();
    for helper in ["typed", "without_input"] {
        if arms.contains(&format!("{helper}(")) {
            helpers.push(helper);
        }
    }
    Ok(format!(
        "use std::future::{{Future, ready}};
        use std::sync::Arc;

        use crate::dispatch::{{{helpers}}};
        use crate::error::AwsError;
        use crate::handler::{{BoxFuture, Input, Output, RequestContext, ServiceHandler}};
        use crate::schema::{{Operation, Service}};

        pub trait {trait_name}: Send + Sync + 'static {{
            {methods}
        }}

        #[derive(Debug)]
        pub struct Handler<S>(pub Arc<S>);

        impl<S: {trait_name}> ServiceHandler for Handler<S> {{
            fn schema(&self) -> &'static Service {{ &super::SERVICE }}

            fn call<'a>(
                &'a self,
                context: &'a RequestContext,
                operation: &'static Operation,
                input: Input,
            ) -> BoxFuture<'a, Result<Output, AwsError>> {{
                match operation.name {{
                    {arms}
                    name => Box::pin(ready(Err(AwsError::not_implemented({service:?}, name)))),
                }}
            }}
        }}
        ",
        helpers = helpers.join(", "),
    ))
}
