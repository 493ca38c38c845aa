"""Says which requests are not signed as Amazon's own client library signs them: one line of JSON for each on standard input, with
method, url, headers and body; one line for each that is wrong on standard output."""

import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

access_key, secret_key, service, region = sys.argv[1:]
for number, line in enumerate(sys.stdin):
    asked = json.loads(line)
    headers = {name.lower(): value for name, value in asked["headers"]}
    scheme, _, said = headers.get("authorization", "").partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in said.split(","))
    signed = {name: headers.get(name, "") for name in parts.get("SignedHeaders", "").split(";")}
    request = AWSRequest(asked["method"], asked["url"], headers=signed, data=asked["body"].encode())
    request.context["timestamp"] = headers.get("x-amz-date", "")
    auth = SigV4Auth(Credentials(access_key, secret_key), service, region)
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    scope = f"{access_key}/{auth.credential_scope(request)}"
    wrong = [
        what
        for what, right in (
            ("scheme", scheme == "AWS4-HMAC-SHA256"),
            ("credential", parts.get("Credential") == scope),
            ("host is not signed", "host" in signed and "x-amz-date" in signed),
            ("signature", parts.get("Signature") == expected),
        )
        if not right
    ]
    if wrong:
        print(f"request {number}, {asked['method']} {asked['url']}: {', '.join(wrong)}")
