// A deployment by the AWS SDK for JavaScript, step by step; prints what it has seen as JSON.
// Arguments: zip file of the first code, of the second, of a layer, runtime, role.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.DEPLOY_TOOLS + "/js/package.json");
const lambda = require("@aws-sdk/client-lambda");

const [first, second, layer, Runtime, Role] = process.argv.slice(2);
const client = new lambda.LambdaClient({ maxAttempts: 1 });
const send = (name, input) => client.send(new lambda[name + "Command"](input));
const FunctionName = "by-javascript";
const wait = { client, minDelay: 0.1, maxDelay: 0.2, maxWaitTime: 60 };
const text = (bytes) => new TextDecoder().decode(bytes);
const seen = {};

const made = await send("PublishLayerVersion", { LayerName: "by-javascript", Content: { ZipFile: readFileSync(layer) } });
const created = await send("CreateFunction", {
  FunctionName, Runtime, Role, Handler: "index.handler", Code: { ZipFile: readFileSync(first) },
  Environment: { Variables: { STAGE: "dev" } }, Layers: [made.LayerVersionArn], Tags: { by: "javascript" }, Timeout: 20,
});
seen.created = [created.State, created.Layers.length];
seen.active = (await lambda.waitUntilFunctionActiveV2(wait, { FunctionName })).state;
seen.exists = (await lambda.waitUntilFunctionExists(wait, { FunctionName })).state;
const answer = await send("Invoke", { FunctionName, Payload: JSON.stringify({ n: 1 }), LogType: "Tail" });
seen.invoked = [answer.StatusCode, answer.ExecutedVersion, JSON.parse(text(answer.Payload)), Boolean(answer.LogResult)];

await send("PublishVersion", { FunctionName, Description: "one" });
await lambda.waitUntilPublishedVersionActive(wait, { FunctionName, Qualifier: "1" });
await send("CreateAlias", { FunctionName, Name: "live", FunctionVersion: "1" });
await send("UpdateFunctionCode", { FunctionName, ZipFile: readFileSync(second) });
await lambda.waitUntilFunctionUpdatedV2(wait, { FunctionName });
await send("UpdateFunctionConfiguration", { FunctionName, Environment: { Variables: { STAGE: "prod" } } });
await lambda.waitUntilFunctionUpdated(wait, { FunctionName });
seen.latest = JSON.parse(text((await send("Invoke", { FunctionName })).Payload));
seen.alias = JSON.parse(text((await send("Invoke", { FunctionName, Qualifier: "live" })).Payload));

const stream = await send("InvokeWithResponseStream", { FunctionName });
let streamed = "";
for await (const event of stream.EventStream) streamed += event.PayloadChunk ? text(event.PayloadChunk.Payload) : "";
seen.streamed = JSON.parse(streamed);

seen.pages = [];
for await (const page of lambda.paginateListVersionsByFunction({ client, pageSize: 1 }, { FunctionName })) {
  seen.pages.push(page.Versions.map((version) => version.Version).join());
}
try {
  await send("GetFunction", { FunctionName: "nobody" });
} catch (error) {
  seen.error = [error instanceof lambda.ResourceNotFoundException, error.$metadata.httpStatusCode, error.message];
}
const whole = await send("GetFunction", { FunctionName });
seen.tags = whole.Tags;
const code = await fetch(whole.Code.Location);
seen.download = Buffer.from(await code.arrayBuffer()).equals(readFileSync(second));
await send("DeleteFunction", { FunctionName });
console.log(JSON.stringify(seen));
