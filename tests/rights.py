"""A real broker that asks who comes and what they may: users, each with rights of its own."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from tests.broker import Secured

PASSWORD = "open sesame"
LITERAL, ALLOW = 3, 3
"""In Kafka's numbers: a name as it stands, and a right that is given."""
LISTENER = "LOGIN"
PROPERTIES = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
listener.name.login.sasl.enabled.mechanisms=PLAIN
listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
"""


class On(IntEnum):
    """What a right is on."""

    TOPIC = 2
    GROUP = 3


class To(IntEnum):
    """What a right allows to do."""

    READ = 3
    WRITE = 4
    DESCRIBE = 8


class Right(NamedTuple):
    """One right, on one topic or group."""

    to: To
    on: On
    name: str


def asking(users: Iterable[str]) -> Secured:
    """A broker with these users on its listener LOGIN; who comes by its open listener may do everything."""
    known = " ".join(f'user_{user}="{PASSWORD}"' for user in users)
    return Secured({LISTENER: "SASL_PLAINTEXT"}, PROPERTIES.format(users=known))


def login(user: str) -> dict[str, Any]:
    """The settings of Kafka with which a user comes in."""
    return {
        "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": user,
        "sasl_password": PASSWORD,
    }  # fmt: skip


def give(address: str, rights: Mapping[str, Iterable[Right]]) -> None:
    """Give each user its rights."""

    async def ask() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            for user, some in rights.items():
                for one in some:
                    wanted = CreateAclsRequest(one.on, one.name, LITERAL, f"User:{user}", "*", one.to, ALLOW)
                    answer = await admin._client.send(admin._client.get_random_node(), wanted)
                    assert not answer.creation_responses[0][0], answer
        finally:
            await admin.close()

    asyncio.run(ask())
    time.sleep(1.0)  # The broker answers once its log has them, and asks them a moment later.
