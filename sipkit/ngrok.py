"""The ngrok agent, through pyngrok 9: started, shared by the kernels of a data folder, and surely ended.

What pyngrok leaves to its user is done here: a deadline around everything (it reads the agent's log line
by line, and waits for ever for an agent that says nothing), a process session of its own (the notebook's
stop button would end the agent), and an end for the agent of a kernel that was killed. `ngrok_says` turns
its errors into ours.

    open()  --- does tunnel.json name a living agent that leads to this port? --- yes --> use it
                   | no: end that agent
                   v
              connect in a thread; at the deadline the agent is ended, or its thread would wait for ever
"""

import contextlib
import http.client
import json
import os
import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import psutil

from sipkit.errors import AgentMissing, AuthtokenMissing, TunnelError
from sipkit.ngrok_says import authtokens, hide_in_logs, why, why_silent
from sipkit.processes import ProcessMark
from sipkit.tunnel_record import (
    DEADLINE,
    END_PATIENCE,
    Health,
    end_recorded_agent,
    record,
    recorded,
    server_runs,
    turn,
)

__all__ = ["DEADLINE", "Agent", "NgrokTunnel", "end_recorded_agent"]

_NOTHING = {None, "", "nil", "<nil>"}  # what the agent writes after err= when there was none


class NgrokTunnel:
    """An address of ngrok's, led here by its agent.

    The agent of a data folder is recorded in `tunnel.json`. Other kernels of the folder use it too; it
    ends with the webhook server that it leads to.

    Args:
        authtoken: The account's token; without it NGROK_AUTHTOKEN or the agent's own ngrok.yml is used.
        agent_path: The ngrok program; without it PYNGROK_NGROK_PATH or pyngrok's own download.
        home: The data folder; without it the agent is this object's alone.
    """

    may_change: ClassVar[bool] = True

    def __init__(self, authtoken: str | None = None, agent_path: Path | None = None, home: Path | None = None) -> None:
        self._authtoken = authtoken
        self._agent_path = agent_path
        self._home = home
        self._agent: Agent | None = None
        self._port: int | None = None
        self.url: str | None = None

    def __repr__(self) -> str:
        return f"NgrokTunnel({'open' if self.url else 'closed'})"

    def requirements(self) -> list[TunnelError]:
        """An authtoken, and the program where a path to one was given; elsewhere pyngrok downloads it."""
        from pyngrok.conf import PyngrokConfig

        missing: list[TunnelError] = []
        if not authtokens(PyngrokConfig(auth_token=self._authtoken)):
            missing.append(AuthtokenMissing("ngrok needs an authtoken, and none was found."))
        if self._agent_path and not self._agent_path.is_file():
            missing.append(AgentMissing(f"There is no ngrok program at {self._agent_path}."))
        return missing

    def open(self, port: int, deadline: float = DEADLINE) -> str:
        """Start the agent, or use the one that already leads to this port.

        Raises:
            AuthtokenMissing: There is no token; nothing was started.
            AgentMissing: There is no agent and it cannot be downloaded.
            NetworkUnreachable: The agent does not reach ngrok.
            TunnelTimeout: It said neither yes nor no in time; it was ended.
            TunnelRefused: ngrok said no; the message has its error code.
        """
        if self.url and self._port == port and self.health().alive:
            return self.url
        self.close()
        if self._home is None:
            found = self._connect(port, deadline)
        else:
            with turn(self._home, deadline):
                found = self._find_or_connect(self._home, port, deadline)
        self._agent, self._port, self.url = found, port, found.url
        return found.url

    def _find_or_connect(self, home: Path, port: int, deadline: float) -> "Agent":
        found = Agent.recorded(home)
        if found is None or not found.leads_to(port):
            end_recorded_agent(home)
            found = self._connect(port, deadline)
            record(home, found.process, api_url=found.api_url, url=found.url)
        return found

    def health(self) -> Health:
        """Whether the agent runs, and the address that it leads to our port now."""
        if self._agent is None or self._port is None:
            return Health(alive=False, url=None, saw="it is not open")
        if not self._agent.process.alive:
            return Health(alive=False, url=None, saw="The ngrok agent has left.")
        addresses = self._agent.addresses(self._port)
        if addresses == []:
            return Health(alive=False, url=None, saw="The ngrok agent serves no address of ours any more.")
        if addresses is not None and self.url not in addresses:
            self.url = addresses[-1]
        return Health(alive=True, url=self.url)

    def close(self) -> None:
        """Let go of the agent; end it, unless the webhook server still runs, which ends it when it leaves."""
        agent, self._agent, self._port, self.url = self._agent, None, None, None
        if agent is None:
            return
        if self._home is None:
            agent.process.end(END_PATIENCE)
        elif not server_runs(self._home):
            end_recorded_agent(self._home)

    def _connect(self, port: int, deadline: float) -> "Agent":
        from pyngrok import ngrok
        from pyngrok.conf import PyngrokConfig

        said: list[str] = []
        config = PyngrokConfig(
            auth_token=self._authtoken,
            ngrok_path=str(self._agent_path) if self._agent_path else None,
            start_new_session=True,
            startup_timeout=int(deadline) + 5,  # ours is the deadline; this one only counts between log lines
            log_event_callback=lambda line: None if line.err in _NOTHING else said.append(str(line.err)),
        )
        for problem in self.requirements():
            raise problem
        tokens = authtokens(config)
        hide_in_logs(tokens)
        before = _agents_here(config.ngrok_path)
        answers: queue.SimpleQueue[Agent | Exception] = queue.SimpleQueue()
        given_up = threading.Event()

        def work() -> None:
            try:
                tunnel = ngrok.connect(
                    f"http://127.0.0.1:{port}",  # not "localhost": we do not listen on ::1
                    name=f"sipkit-{port}-{os.urandom(3).hex()}",
                    pyngrok_config=config,
                )
                agent = ngrok.get_ngrok_process(config)
                mark = ProcessMark.of(agent.proc.pid)
                url = str(tunnel.public_url).rstrip("/")
                answers.put(Agent(mark.pid, mark.create_time, str(agent.api_url), url))
            except Exception as error:  # noqa: BLE001 - handed to the caller's thread
                answers.put(error)
            if given_up.is_set():  # a download that took too long must not end in an agent nobody knows of
                ngrok.kill(config)

        threading.Thread(target=work, name="ngrok-connect", daemon=True).start()
        answer: Agent | Exception | None = None
        try:
            with contextlib.suppress(queue.Empty):
                answer = answers.get(timeout=deadline)
        finally:
            if not isinstance(answer, Agent):  # the stop button ends here, too
                given_up.set()
                for agent_process in _agents_here(config.ngrok_path) - before:
                    agent_process.end(END_PATIENCE)
        if isinstance(answer, Agent):
            return answer
        # Not from inside an `except`: pyngrok's exception, with the agent's own words, is not for notebooks.
        raise why_silent(said, deadline) if answer is None else why(answer, said, tokens)


@dataclass(frozen=True)
class Agent:
    """A running ngrok agent.

    Attributes:
        pid: Its process id.
        create_time: When that process was created, seconds since the epoch.
        api_url: Its local API, such as `http://127.0.0.1:4040`.
        url: The public address it serves for us.
    """

    pid: int
    create_time: float
    api_url: str
    url: str

    @classmethod
    def recorded(cls, home: Path) -> "Agent | None":
        """The agent `tunnel.json` tells of, running or not; None when it tells of none."""
        data = recorded(home)
        try:
            return cls(int(data["pid"]), float(data["create_time"]), str(data["api_url"]), str(data["url"]))
        except (ValueError, TypeError, KeyError):
            return None

    @property
    def process(self) -> ProcessMark:
        """The agent's process."""
        return ProcessMark(self.pid, self.create_time)

    def leads_to(self, port: int) -> bool:
        """Whether it runs, and its API says that our address leads to this port."""
        return self.process.alive and self.url in (self.addresses(port) or [])

    def addresses(self, port: int) -> list[str] | None:
        """The public addresses that its API says lead to this port; None when the API says nothing sensible."""
        api = urlsplit(self.api_url)
        connection = http.client.HTTPConnection(api.hostname or "127.0.0.1", api.port, timeout=2.0)
        try:
            connection.request("GET", "/api/endpoints")
            endpoints = json.loads(connection.getresponse().read())["endpoints"]
            return [
                str(endpoint["url"]).rstrip("/")
                for endpoint in endpoints
                if endpoint["upstream"]["url"] == f"http://127.0.0.1:{port}"
            ]
        except (OSError, ValueError, TypeError, KeyError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def _agents_here(path: str) -> set[ProcessMark]:
    """This process's children that run the agent at `path`."""
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if path in child.cmdline():
                found.add(ProcessMark(child.pid, child.create_time()))
    return found
