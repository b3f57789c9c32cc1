#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus and Alertmanager with the project's own configuration, watching a stack, and receivers of our own
for what they send. As a program: prints when each alert arrived at Slack, until it is ended.

usage: monitoring.py STACK_PORT_BASE PORT_BASE FOLDER PROJECT      ports of its own: PORT_BASE and three after it"""
import asyncio
import http.client
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.parse

import yaml

MONITORING = os.path.join(sys.argv[4] if len(sys.argv) > 4 else os.getcwd(), 'compose/monitoring')
PROGRAMS = ('prometheus', 'prometheus-alertmanager')


def until(seconds, condition):
    """What condition() returns as soon as it is true, or its last result."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.2)


class Receivers:
    """What Slack's webhook and a mail server get, with the time of each."""

    def __init__(self, port, mail_port):
        self.slack, self.mail, self.deadman = [], [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                text = self.rfile.read(int(self.headers['Content-Length'])).decode()
                (outer.deadman if self.path == '/deadman' else outer.slack).append((time.monotonic(), text))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'ok')

            def log_message(self, format, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        threading.Thread(target=lambda: asyncio.run(self.serve_mail(mail_port)), daemon=True).start()

    async def serve_mail(self, port):
        server = await asyncio.start_server(self.take_mail, '127.0.0.1', port)
        async with server:
            await server.serve_forever()

    async def take_mail(self, reader, writer):
        """As much of RFC 5321 as a client needs that wants to hand over one message."""
        writer.write(b'220 sink\r\n')
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b'DATA':
                writer.write(b'354 go on\r\n')
                text = b''
                while (line := await reader.readline()) not in (b'.\r\n', b''):
                    text += line
                self.mail.append((time.monotonic(), text.decode(errors='replace')))
            writer.write(b'221 bye\r\n' if verb == b'QUIT' else b'250 ok\r\n')
            await writer.drain()
            if verb == b'QUIT':
                break
        writer.close()


def start_monitoring(folder, stack_base, base):
    """The project's own configuration, with this stack's ports and our receivers in it."""
    with open(os.path.join(MONITORING, 'prometheus.yml'), encoding='utf-8') as file:
        prometheus = yaml.safe_load(file)
    prometheus['rule_files'] = [os.path.join(MONITORING, 'rendered/rules.yaml')]
    prometheus['alerting']['alertmanagers'][0]['static_configs'][0]['targets'] = [f'127.0.0.1:{base + 1}']
    jobs = {job['job_name']: job for job in prometheus['scrape_configs'] if job['job_name'].startswith('firstcome-')}
    for offset, name in enumerate(('command', 'query', 'projector')):
        jobs['firstcome-' + name]['static_configs'][0]['targets'] = [f'127.0.0.1:{stack_base + offset}']
    prometheus['scrape_configs'] = list(jobs.values())
    with open(os.path.join(MONITORING, 'alertmanager.yml'), encoding='utf-8') as file:
        alertmanager = yaml.safe_load(file)
    alertmanager['global'] = {'slack_api_url': f'http://127.0.0.1:{base + 2}/slack', 'smtp_smarthost': f'127.0.0.1:{base + 3}',
                              'smtp_from': 'firstcome@example.com', 'smtp_require_tls': False}
    for receiver in alertmanager['receivers']:
        for webhook in receiver.get('webhook_configs', []):
            webhook['url'] = f'http://127.0.0.1:{base + 2}/deadman'
    for name, content in (('prometheus.yml', prometheus), ('alertmanager.yml', alertmanager)):
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
            yaml.safe_dump(content, file)
    log = open(os.path.join(folder, 'monitoring.log'), 'w', encoding='utf-8')
    return [subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) for command in (
        ['prometheus', '--config.file=prometheus.yml', f'--storage.tsdb.path={folder}/tsdb', f'--web.listen-address=127.0.0.1:{base}'],
        ['prometheus-alertmanager', '--config.file=alertmanager.yml', f'--storage.path={folder}/am', '--cluster.listen-address=',
         f'--web.listen-address=127.0.0.1:{base + 1}'])]


def query(port, expr):
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    try:
        connection.request('GET', '/api/v1/query?' + urllib.parse.urlencode({'query': expr}))
        return json.loads(connection.getresponse().read())['data']['result']
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return []
    finally:
        connection.close()


def arrival(messages, alert, since):
    return next((when - since for when, text in messages if alert in text and when >= since), None)


def main():
    stack_base, base, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    receivers = Receivers(base + 2, base + 3)
    start_monitoring(folder, stack_base, base)
    until(120, lambda: len(query(base, 'count_over_time(up[1m]) > 1')) == 3)
    print('ready', flush=True)
    said = 0
    while True:
        while said < len(receivers.slack):
            when, text = receivers.slack[said]
            print(int(when * 1e6), *sorted(set(re.findall(r'Coupon[A-Za-z]+', text))), flush=True)
            said += 1
        time.sleep(0.1)


if __name__ == '__main__':
    main()
