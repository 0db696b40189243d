#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
member - stands before a MongoDB server as one member of a replica set.

  member.py PORT PORTS SERVER DIRECTORY

Listens at PORT, one of PORTS (those of all members, with commas between), until
its input ends. All of them are processes of their own before the one server at
port SERVER, and know of each other by files in DIRECTORY. They say of themselves
what members say, so that a client finds and watches them as it would a replica
set: one is the primary and passes messages on, the others answer that they are
not. A primary that is killed or stopped is silent, and after LEASE seconds
another one elects itself; the old one finds that out before it passes on
anything more, if it goes on at all.

Nobody else may stop a member while it holds DIRECTORY/lock: it would wake with
a message that it takes for its own to pass on.
"""
import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from proxy import (Int64, OP_MSG, WRITES, accept, document, receive,
                   reply_to)
from proxy import command as msg_command

OP_REPLY, OP_QUERY = 1, 2004
LEASE = 2.0
HELLO = {'hello', 'isMaster', 'ismaster'}
# what a member answers whether it is the primary or not
ANY = HELLO | {'ping', 'buildInfo', 'endSessions', 'replSetInitiate'}
SIZES = ('minWireVersion', 'maxWireVersion', 'maxBsonObjectSize',
         'maxMessageSizeBytes', 'maxWriteBatchSize')


def command(message):
    """The name of a message's command, also of one in the old style."""
    if struct.unpack_from('<i', message, 12)[0] != OP_QUERY:
        return msg_command(message)
    at = message.index(b'\0', 20) + 1 + 8 + 4 + 1
    return message[at:message.index(b'\0', at)].decode()


def answer_to(message, body):
    if struct.unpack_from('<i', message, 12)[0] != OP_QUERY:
        return reply_to(message, body)
    request = struct.unpack_from('<i', message, 4)[0]
    body = struct.pack('<iqii', 8, 0, 0, 1) + body
    return struct.pack('<iiii', 16 + len(body), 0, request, OP_REPLY) + body


def number(message, name, default=None):
    """The integer of that name, wherever it is in the message."""
    for kind, form in ((b'\x10', '<i'), (b'\x12', '<q')):
        at = message.find(kind + name.encode() + b'\0')
        if at >= 0:
            return struct.unpack_from(form, message, at + len(name) + 2)[0]
    return default


class Member:
    def __init__(self, port, ports, server, directory):
        self.port, self.ports = port, ports
        self.server, self.directory = server, directory
        self.process = os.urandom(12)
        self.sizes = self.ask_sizes()

    def ask_sizes(self):
        """What the server is able to is what the members are."""
        with self.connect() as sock:
            body = struct.pack('<ib', 0, 0) + document(
                **{'isMaster': 1, '$db': 'admin'})
            sock.sendall(struct.pack(
                '<iiii', 16 + len(body), 1, 0, OP_MSG) + body)
            reply = receive(sock)
        return {name: number(reply, name) for name in SIZES}

    def connect(self):
        return socket.create_connection(('127.0.0.1', self.server))

    def path(self, name):
        return os.path.join(self.directory, name)

    @contextlib.contextmanager
    def lock(self, how):
        with open(self.path('lock'), 'ab') as file:
            fcntl.flock(file, how)
            yield

    def read(self, name, default):
        try:
            with open(self.path(name), encoding='ascii') as file:
                return json.load(file)
        except FileNotFoundError:
            return default

    def write(self, name, value):
        with open(self.path(f'{name}.{self.port}'), 'w',
                  encoding='ascii') as file:
            json.dump(value, file)
        os.replace(file.name, self.path(name))

    def elected(self):
        """(term, port of the primary); 0: nobody was yet."""
        return tuple(self.read('elected', [0, 0]))

    def elect(self):
        """For ever: says that the primary is alive, or takes its place."""
        while True:
            term, primary = self.elected()
            if primary == self.port:
                self.write('lease', time.monotonic())
            elif time.monotonic() - self.read('lease', 0) > LEASE:
                with self.lock(fcntl.LOCK_EX):
                    if self.elected()[0] == term:
                        self.write('elected', [term + 1, self.port])
                        self.write('lease', time.monotonic())
            time.sleep(0.1)

    def version(self, term):
        return {'processId': self.process, 'counter': Int64(term)}

    def hello(self, message):
        """At once, or when something has changed since the asker knew."""
        known = number(message, 'counter')
        until = time.monotonic() + number(message, 'maxAwaitTimeMS', 0) / 1000
        term, primary = self.elected()
        while self.process in message and known == term and \
                time.monotonic() < until:
            time.sleep(0.05)
            term, primary = self.elected()
        first = primary == self.port
        fields = {
            'ok': 1.0, 'helloOk': True,
            'isWritablePrimary': first, 'ismaster': first,
            'secondary': not first, 'setName': 'rs', 'setVersion': 1,
            'hosts': [f'127.0.0.1:{port}' for port in self.ports],
            'me': f'127.0.0.1:{self.port}',
            'topologyVersion': self.version(term), **self.sizes}
        if primary:
            fields['primary'] = f'127.0.0.1:{primary}'
        if first:
            fields['electionId'] = struct.pack('>iq', 0x7fffffff, term)
        return document(**fields)

    def refusal(self, name):
        write = name in WRITES
        return document(
            ok=0.0, code=10107 if write else 13435,
            codeName='NotWritablePrimary' if write
            else 'NotPrimaryNoSecondaryOk',
            errmsg='not the primary',
            topologyVersion=self.version(self.elected()[0]))

    def pass_on(self, server, message):
        """False: another is the primary."""
        if self.elected()[1] != self.port:
            return False
        with self.lock(fcntl.LOCK_SH):
            if self.elected()[1] != self.port:
                return False
            server.sendall(message)
            return True

    def answer(self, server, message):
        name = command(message)
        if name in HELLO:
            return answer_to(message, self.hello(message))
        if name == 'replSetInitiate':
            return answer_to(message, document(ok=1.0))
        if name in ANY:
            server.sendall(message)
        elif not self.pass_on(server, message):
            return answer_to(message, self.refusal(name))
        return receive(server)

    def serve(self, client):
        try:
            with client, self.connect() as server:
                while message := receive(client):
                    reply = self.answer(server, message)
                    if reply is None:
                        return
                    client.sendall(reply)
        except OSError:
            pass


def main():
    port = int(sys.argv[1])
    member = Member(port, [int(p) for p in sys.argv[2].split(',')],
                    int(sys.argv[3]), sys.argv[4])
    sock = socket.create_server(('127.0.0.1', port))
    threading.Thread(
        target=accept, args=(sock, member.serve), daemon=True).start()
    threading.Thread(target=member.elect, daemon=True).start()
    sys.stdin.read()


if __name__ == '__main__':
    main()
