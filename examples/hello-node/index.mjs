// The sample function that the README deploys where there is no Python.

export const handler = async (event, context) => {
  const name = event?.name ?? 'world';
  console.log(`greeting ${name}`);
  return {
    message: `Hello, ${name}!`,
    node: process.versions.node,
    request_id: context.awsRequestId,
    remaining_ms: context.getRemainingTimeInMillis(),
  };
};
