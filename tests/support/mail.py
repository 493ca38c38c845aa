"""A mail server for tests: aiosmtpd. Writes each mail as one JSON line to a file.

mail.py PORT FILE [CERTIFICATE KEY USER PASSWORD]: with a certificate it wants STARTTLS, then this user.
"""

import json
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword


class Sink:
    def __init__(self, path):
        self.path = path

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "text": envelope.content.decode("utf-8", "replace"),
            "tls": session.ssl is not None,
            "user": session.auth_data.login.decode() if session.auth_data else None,
        }
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 2.0.0 Taken"


port, path = int(sys.argv[1]), sys.argv[2]
options = {}
if len(sys.argv) > 3:
    certificate, key, user, password = sys.argv[3:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def check(server, session, envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=good, handled=False, auth_data=data)

    options = {"tls_context": context, "require_starttls": True, "authenticator": check, "auth_required": True}
Controller(Sink(path), hostname="127.0.0.1", port=port, **options).start()
print("listening", flush=True)
threading.Event().wait()
