#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
proxy - sits between hivefs and a MongoDB server and breaks things.

  proxy.py PORT FIRST EVERY FAULT[,FAULT]... [DELAY [LISTEN]]

Prints the port it listens at and passes messages on to PORT, until its input
ends. Of those that read or write documents, the FIRST and then each EVERY-th
(0: no other) meet a fault, in turns:

  before   the connection is cut, the message never arrives
  after    it arrives, and the connection is cut before the reply
  primary  "not the primary", in the server's place
  closing  "shutdown in progress", likewise
  concern  a write arrives, and the reply says that no majority has it (of
           others: like after)
  stall    no reply comes, ever
  readonly of a write: "not authorized", in the server's place; reads pass
  denied   the same of all
  none     no fault at all

Whatever FIRST and EVERY are, the server seems to be another with

  old       it says that it is of a version long gone
  password  it accepts no user's
  denied    its users may do nothing
  no-sweep  nobody may remove chunks or maps
  as-ROLE   they may do what hivefs-mongodb(7) says of hivefsROLE

It listens at port LISTEN, or one that is free. Each reply comes DELAY milliseconds late, as from a server that is far away. At
the end it prints how many such messages there were, how many faults, and how
many of them were waiting for their replies at once, at the most.
"""
import select
import socket
import struct
import sys
import threading
import time

OP_MSG = 2013
COUNTED = {'find', 'getMore', 'insert', 'update', 'delete'}
WRITES = {'insert', 'update', 'delete'}


# What each may do besides reading.
BACKUP = {
    **{name: ('insert',) for name in ('machines', 'chunks', 'maps', 'points')},
    'writers': ('insert', 'update', 'delete'),
    'condemned': ('delete',),
}
MOUNT = {
    **BACKUP,
    'clones': ('insert', 'update'),
    'labels': ('insert', 'update'),
    'streams': ('insert', 'delete'),
    'owners': ('insert', 'update', 'delete'),
}
ROLES = {'as-Restore': {}, 'as-Backup': BACKUP, 'as-Mount': MOUNT}
READS = {'find', 'getMore', 'collStats', 'dbStats'}


class Int64(int):
    """One that BSON is to hold as such."""


def document(**fields):
    """BSON of numbers, truths, texts, object ids, lists and documents."""
    body = b''
    for name, value in fields.items():
        key = name.encode() + b'\0'
        if isinstance(value, dict):
            body += b'\x03' + key + document(**value)
        elif isinstance(value, list):
            body += b'\x04' + key + document(
                **{str(i): one for i, one in enumerate(value)})
        elif isinstance(value, str):
            text = value.encode() + b'\0'
            body += b'\x02' + key + struct.pack('<i', len(text)) + text
        elif isinstance(value, bytes):
            body += b'\x07' + key + value
        elif isinstance(value, bool):
            body += b'\x08' + key + bytes([value])
        elif isinstance(value, float):
            body += b'\x01' + key + struct.pack('<d', value)
        elif isinstance(value, Int64):
            body += b'\x12' + key + struct.pack('<q', value)
        else:
            body += b'\x10' + key + struct.pack('<i', value)
    return struct.pack('<i', len(body) + 5) + body + b'\0'


def reply_to(message, body):
    request = struct.unpack_from('<i', message, 4)[0]
    body = struct.pack('<ib', 0, 0) + body
    return struct.pack('<iiii', 16 + len(body), 0, request, OP_MSG) + body


def older(reply):
    name = b'\x10maxWireVersion\0'
    at = reply.find(name)
    if at < 0:
        return reply
    at += len(name)
    return reply[:at] + struct.pack('<i', 2) + reply[at + 4:]


def refusal(code, text):
    return document(ok=0.0, errmsg=text, code=code)


def receive(sock):
    data = bytearray()
    while len(data) < 4 or len(data) < struct.unpack_from('<i', data)[0]:
        want = 16 if len(data) < 4 else struct.unpack_from('<i', data)[0]
        more = sock.recv(min(want - len(data), 1 << 20))
        if not more:
            return None
        data += more
    return bytes(data)


def command(message):
    """The name of a message's command: the first field of its body."""
    if struct.unpack_from('<i', message, 12)[0] != OP_MSG or message[20] != 0:
        return None
    return message[26:message.index(b'\0', 26)].decode()


def collection(message):
    """What the command is about: the value of that field."""
    at = message.index(b'\0', 26) + 5
    return message[at:message.index(b'\0', at)].decode(errors='replace')


def accept(sock, serve):
    """For ever: SERVE(client) in a thread for each."""
    while True:
        client, _ = sock.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=serve, args=(client,), daemon=True).start()


class Proxy:
    def __init__(self, port, first, every, faults, delay):
        self.port, self.first, self.every = port, first, every
        self.faults, self.delay = faults, delay
        self.lock = threading.Lock()
        self.seen = self.made = self.waiting = self.most = 0

    def other(self, message):
        """The reply of a server that is another, or None."""
        name = command(message)
        if 'password' in self.faults and name == 'saslStart':
            return refusal(18, 'Authentication failed.')
        if 'denied' in self.faults and name in COUNTED:
            return refusal(13, 'not authorized')
        if 'no-sweep' in self.faults and name == 'delete' and \
                collection(message) in ('chunks', 'maps'):
            return refusal(13, 'not authorized')
        for role in ROLES.keys() & set(self.faults):
            if (name in COUNTED or name in ('create', 'drop')) and \
                    name not in READS and \
                    name not in ROLES[role].get(collection(message), ()):
                return refusal(13, f'not authorized: {name} on '
                               f'{collection(message)}')
        return None

    def fault(self, message):
        """What the message is to meet, or None."""
        if command(message) not in COUNTED:
            return None
        with self.lock:
            self.seen += 1
            behind = self.seen - self.first
            if behind != 0 and (
                    not self.every or behind < 0 or behind % self.every):
                return None
            self.made += 1
            fault = self.faults[(self.made - 1) % len(self.faults)]
            return None if fault == 'none' else fault

    def serve(self, client):
        server = socket.create_connection(('127.0.0.1', self.port))
        try:
            while True:
                message = receive(client)
                if message is None or not self.one(client, server, message):
                    return
        except OSError:
            pass
        finally:
            client.close()
            server.close()

    def one(self, client, server, message):
        fault = self.fault(message)
        self.wait(message, 1)
        try:
            return self.answer(client, server, message, fault)
        finally:
            self.wait(message, -1)

    def wait(self, message, change):
        if command(message) in COUNTED:
            with self.lock:
                self.waiting += change
                self.most = max(self.most, self.waiting)

    def answer(self, client, server, message, fault):
        if fault == 'readonly':
            fault = 'denied' if command(message) in WRITES else None
        if fault == 'denied':
            client.sendall(reply_to(message, document(
                ok=0.0, errmsg='not authorized, says the test', code=13)))
            return True
        if fault in ('primary', 'closing'):
            code = 10107 if fault == 'primary' else 91
            client.sendall(reply_to(
                message, refusal(code, 'made by the test')))
            return True
        other = self.other(message)
        if other:
            client.sendall(reply_to(message, other))
            return True
        if fault == 'before':
            return False
        server.sendall(message)
        reply = receive(server)
        if self.delay:
            time.sleep(self.delay)
        if fault == 'stall':
            select.select([client], [], [], 60)
            return False
        if fault == 'concern' and command(message) in WRITES:
            client.sendall(reply_to(message, document(
                ok=1.0, n=1, writeConcernError={
                    'code': 64, 'errmsg': 'made by the test'})))
            return True
        if fault or reply is None:
            return False
        if 'old' in self.faults:
            reply = older(reply)
        client.sendall(reply)
        return True

    def listen(self, port):
        sock = socket.create_server(('127.0.0.1', port))
        print(sock.getsockname()[1], flush=True)
        accept(sock, self.serve)


def main():
    proxy = Proxy(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]),
                  sys.argv[4].split(','), float(sys.argv[5]) / 1000 if len(sys.argv) > 5 else 0)
    port = int(sys.argv[6]) if len(sys.argv) > 6 else 0
    threading.Thread(target=proxy.listen, args=(port,), daemon=True).start()
    sys.stdin.read()
    print(proxy.seen, proxy.made, proxy.most, flush=True)


if __name__ == '__main__':
    main()
