#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
front - gives a MongoDB server that has neither TLS and users.

  front.py PORT [--cert FILE] [--client-ca FILE] [--user NAME:PASSWORD]

Prints the port it listens at and passes messages on to PORT, until its input
ends. With --cert (certificate and key) it speaks TLS only, with --client-ca to
those only who have a certificate of that authority; with --user to those only
who prove to know the password, by SCRAM (RFC 5802) as MongoDB does it.
"""
import argparse
import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import sys
import threading

sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from member import ANY, command
from proxy import document, receive, refusal, reply_to

ITERATIONS = 4096
HASHES = {'SCRAM-SHA-1': 'sha1', 'SCRAM-SHA-256': 'sha256'}


def binary(message, name):
    at = message.index(b'\x05' + name.encode() + b'\0') + len(name) + 2
    return message[at + 5:at + 5 + struct.unpack_from('<i', message, at)[0]]


def step(payload, done):
    """The reply to a message of the conversation."""
    body = document(ok=1.0, conversationId=1, done=done)
    value = b'\x05payload\0' + struct.pack('<ib', len(payload), 0) + payload
    return struct.pack('<i', len(body) + len(value)) + body[4:-1] + value + \
        b'\0'


def attributes(text):
    return dict(one.split('=', 1) for one in text.split(','))


class Conversation:
    """One client's proof, in two messages and an empty one."""

    def __init__(self, user, password, message):
        name = next(n for n in HASHES if n.encode() + b'\0' in message)
        self.hash = HASHES[name]
        if name == 'SCRAM-SHA-1':
            password = hashlib.md5(
                f'{user}:mongo:{password}'.encode()).hexdigest()
        self.first = binary(message, 'payload').decode()[3:]
        asked = attributes(self.first)
        self.known = asked['n'] == user
        # as long as MongoDB's
        salt = os.urandom(hashlib.new(self.hash).digest_size - 4)
        self.salted = hashlib.pbkdf2_hmac(
            self.hash, password.encode(), salt, ITERATIONS)
        nonce = asked['r'] + base64.b64encode(os.urandom(18)).decode()
        self.second = f'r={nonce},s={base64.b64encode(salt).decode()},' \
                      f'i={ITERATIONS}'

    def hmac(self, key, text):
        return hmac.digest(key, text.encode(), self.hash)

    def proven(self, message):
        """What proves that we know it, too; None: the client does not."""
        last = binary(message, 'payload').decode()
        bare, proof = last.rsplit(',p=', 1)
        text = f'{self.first},{self.second},{bare}'
        key = self.hmac(self.salted, 'Client Key')
        signature = self.hmac(hashlib.new(self.hash, key).digest(), text)
        want = bytes(a ^ b for a, b in zip(key, signature))
        if not self.known or \
                not hmac.compare_digest(want, base64.b64decode(proof)):
            return None
        ours = self.hmac(self.hmac(self.salted, 'Server Key'), text)
        return b'v=' + base64.b64encode(ours)


class Client:
    def __init__(self, sock, server, user):
        self.sock, self.server = sock, server
        self.user, self.talk = user, None
        self.known = not user

    def authenticate(self, name, message):
        """The reply's body."""
        if name == 'saslStart':
            self.talk = Conversation(*self.user.split(':', 1), message)
            return step(self.talk.second.encode(), False)
        if self.known:
            return step(b'', True)
        proof = self.talk.proven(message)
        if not proof:
            return refusal(18, 'Authentication failed.')
        self.known = True
        return step(proof, False)

    def answer(self, message):
        name = command(message)
        if name in ('saslStart', 'saslContinue'):
            return reply_to(message, self.authenticate(name, message))
        if not self.known and name not in ANY:
            return reply_to(message, refusal(
                13, f'command {name} requires authentication'))
        self.server.sendall(message)
        return receive(self.server)

    def serve(self):
        while message := receive(self.sock):
            reply = self.answer(message)
            if reply is None:
                return
            self.sock.sendall(reply)


def serve(sock, tls, args):
    try:
        if tls:
            sock = tls.wrap_socket(sock, server_side=True)
        with sock, socket.create_connection(('127.0.0.1', args.port)) as server:
            Client(sock, server, args.user).serve()
    except OSError:
        sock.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('port', type=int)
    parser.add_argument('--cert')
    parser.add_argument('--client-ca')
    parser.add_argument('--user')
    args = parser.parse_args()
    tls = None
    if args.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(args.cert)
    if args.client_ca:
        tls.load_verify_locations(args.client_ca)
        tls.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(('127.0.0.1', 0))

    def accept():
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(
                target=serve, args=(sock, tls, args), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == '__main__':
    main()
