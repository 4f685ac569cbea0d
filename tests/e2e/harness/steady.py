"""Invokes one function at a steady pace; see `bystander.py`."""

import http.client
import json
import select
import sys
import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def main():
    order = json.loads(sys.stdin.readline())
    path = "/2015-03-31/functions/%s/invocations" % order["function"]
    url = "http://127.0.0.1:%d%s" % (order["port"], path)
    auth = SigV4Auth(Credentials(order["key"], order["secret"]), "lambda", "us-east-1")
    samples = open(order["samples"], "a", buffering=1)
    connection = None
    number = 0
    while True:
        number += 1
        body = b"%d" % number
        request = AWSRequest(method="POST", url=url, data=body, headers={})
        auth.add_auth(request)
        begun = time.monotonic()
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", order["port"], timeout=60)
            connection.request("POST", path, body, dict(request.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
            expected = [number, answer.getheader("x-amzn-requestid")]
            right = answer.status == 200 and answer.getheader("x-amz-function-error") is None
            said = "ok" if right and json.loads(content) == expected else "%d %r" % (answer.status, content[:300])
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            connection = None
            said = "%s: %s" % (type(error).__name__, error)
        samples.write("%.6f %.6f %s\n" % (begun, time.monotonic() - begun, said.replace("\n", " ")))
        # Ends with the tests, whatever becomes of them.
        if select.select([sys.stdin], [], [], order["pace"])[0]:
            return


if __name__ == "__main__":
    main()
