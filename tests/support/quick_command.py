"""The command for scripts that run it many times: each time a fork of one process that has imported everything, which takes ten seconds."""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from tempfile import TemporaryDirectory

CLIENT = """#!{python} -SE
import json, os, socket, sys
given = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    socket.send_fds(asked, [len(given).to_bytes(8, "big")], [0, 1, 2])
    asked.sendall(given)
    sys.exit(asked.recv(1)[0])
"""


@contextmanager
def quick_command(folder, environment):
    """Puts the command into a folder, as a script that takes arguments, environment, streams and status as the installed one does.

    Args:
        folder: Where, for the path.
        environment: Of the process that imports, as some packages read theirs while they are imported.
    """
    with TemporaryDirectory() as place:  # as a socket's address must be short
        address, script = f"{place}/socket", folder / "sae-lens-metrics"
        script.write_text(CLIENT.format(python=sys.executable, address=address))
        script.chmod(0o755)
        process = subprocess.Popen([sys.executable, __file__, address], env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()
            process.communicate()


def serve():
    """Answers one client after the other, until it is killed."""
    import sae_lens_metrics.cli.main
    import sae_lens_metrics.evaluation.sweep
    import sae_lens_metrics.views.page  # noqa: F401

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(sys.argv[1])
        server.listen()
        print("ready", flush=True)  # noqa: T201
        while True:
            client, _ = server.accept()
            size, streams, *_ = socket.recv_fds(client, 8, 3)
            given = client.makefile("rb").read(int.from_bytes(size, "big"))
            pid = os.fork()
            if not pid:
                _become(*json.loads(given), streams)
            for stream in streams:
                os.close(stream)
            client.sendall(bytes([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256]))
            client.close()


def _become(arguments, folder, environment, streams):
    from sae_lens_metrics.cli.program import program

    status = 99
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))  # noqa: SIM115
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["sae-lens-metrics", *arguments]
        program()
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
