"""Load that is sent to a server over HTTP, and what is made of the answers.

- :mod:`.lines`, :mod:`.http_answers`, :mod:`.sending`: an open-loop generator in a process of its
  own;
- :mod:`.echo`: a bare server, for what the client alone costs;
- :mod:`.endpoint`, :mod:`.bodies`: a server of the Open Inference Protocol, and requests for it;
- :mod:`.asking`, :mod:`.asked_rule`: whose requests are sent, and which rule decides there;
- :mod:`.driving`, :mod:`.window`, :mod:`.floor`: windows, whether they count, and what is beside
  batches;
- :mod:`.predict`, :mod:`.seen`, :mod:`.judging`, :mod:`.outcome`: the same requests simulated, and
  figures of both by one code;
- :mod:`.shown`, :mod:`.words`, :mod:`.plots`, :mod:`.side_by_side`, :mod:`.records`: tables,
  sentences, figures, files;
- :mod:`.exporting`: the requests for k6 and Locust.
"""
