"""Peer: sends one conditional request a repository over one connection, and counts the answers. Arguments: URL, file of "NAME HEAD"."""
import http.client
import json
import os
import sys
from urllib.parse import urlsplit

url, heads = sys.argv[1:]
connection = http.client.HTTPConnection(urlsplit(url).netloc)
totals = {}
with open(heads) as file:
    for line in file:
        name, head = line.split()
        connection.request("GET", "/repos/%s/commits/HEAD" % name, headers={
            "Accept": "application/vnd.github.sha", "If-None-Match": '"%s"' % head, "User-Agent": "peer",
            "Authorization": "Bearer " + os.environ["MALSEQ_BENCH_TOKEN"]})
        answer = connection.getresponse()
        answer.read()
        totals[answer.status] = totals.get(answer.status, 0) + 1
print(json.dumps(totals))
