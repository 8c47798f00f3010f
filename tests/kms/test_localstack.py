"""What AWS KMS does and moto leaves out: replicas in other Regions, keys that are no KEKs, what becomes of a key while a
session has it."""

import pytest
from harness import localstack, moto
from harness.cluster import Cluster
from harness.database import Database
from sqlstate import fails

from .conftest import Place, together
from .providers import CHOSEN, LocalStack

PROVIDERS = [pytest.param(provider, id=provider.name, marks=together(provider))
             for provider in CHOSEN if provider is LocalStack]


@pytest.fixture(params=PROVIDERS, scope="module")
def regions(request, _started):
    """A server that asks LocalStack in two Regions."""
    provider, _ = _started(request.param)
    url = provider.server.url
    conf = {"envelope.aws_endpoint_url": f"{localstack.REGION}={url}, {localstack.OTHER_REGION}={url}",
            "envelope.allowed_keks": "*", "envelope.kms_max_attempts": 1}
    with Cluster(conf=conf, env=provider.env) as cluster:
        yield provider, Database(cluster)


@pytest.fixture
def place(regions):
    return Place(*regions)


def by_alias(arn, alias):
    """The ARN of an alias beside a key's."""
    return arn.rpartition(":")[0] + ":" + alias


def replica(provider):
    """A multi-Region key and its replica, in two Regions."""
    primary = provider.server.create_key(MultiRegion=True)
    made = provider.server.client().replicate_key(KeyId=primary, ReplicaRegion=localstack.OTHER_REGION)
    return moto.kek(primary), moto.kek(made["ReplicaKeyMetadata"]["Arn"])


def test_a_replica_opens_what_its_primary_wrapped(place):
    provider = place.provider
    place.kek, other = replica(provider)
    assert place.kek.partition("key/mrk-")[2] == other.partition("key/mrk-")[2] != ""
    place.create_key().insert()
    assert place.db.value("SELECT envelope.add_kek(%s::text::regclass, %s)", (place.name, other)) == 1
    assert place.db.value("SELECT envelope.drop_kek(%s::text::regclass, %s)", (place.name, place.kek)) == 1
    assert [kek for kek, *_ in place.wraps()] == [other] and place.opens()
    # And as whoever may write the catalog: the wrap as it is, under the other's name.
    place.change_wrap(kek=place.kek)
    assert place.opens()


def test_moved_to_the_other_region_and_back(place):
    place.kek, other = replica(place.provider)
    place.create_key().insert()
    for source, target in ((place.kek, other), (other, place.kek)):
        assert place.db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s, %s::text::regclass)",
                            (source, target, place.name)) == [(True, None)]
        assert [kek for kek, *_ in place.wraps()] == [target] and place.opens()


# Not RSA for encryption: of such a key AWS gives no data key, and LocalStack does.
@pytest.mark.parametrize("options", [
    {"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"},
    {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
    {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"},
], ids=lambda options: "-".join(options.values()))
def test_keys_that_are_no_keks(place, options):
    """Named by ARN or alias."""
    arn = place.provider.server.create_key(**options)
    alias = f"alias/{place.name}"
    place.provider.server.client().create_alias(AliasName=alias, TargetKeyId=arn)
    for place.kek in map(moto.kek, (by_alias(arn, alias), arn)):
        with fails("55000"):
            place.create_key()
        assert place.wraps() == []
        assert place.db.sql("SELECT ok, sqlstate FROM envelope.check_kek(%s)", (place.kek,))[-1] == (False, "55000")


@pytest.mark.parametrize("state", ["disabled", "deleted"])
def test_whoever_has_the_key_goes_on_until_the_ttl(place, state):
    place.create_key().insert()
    with place.db.connect() as c:
        assert place.opens(c)
        with place.provider.fault(state, place.kek):
            assert place.opens(c)
            c.execute("SET envelope.cache_max_uses = 1")
            with fails("55000"):
                for _ in range(3):
                    place.opens(c)
            # Refused is refused: it is not kept as a key of an absent KMS would be.
            c.execute("RESET envelope.cache_max_uses")
            with fails("55000"):
                place.opens(c)
        c.execute("SELECT envelope.flush_cache()")
        assert place.opens(c)


def test_an_alias_that_leads_elsewhere(place):
    """The catalog has the key's own name, so what was wrapped opens whatever becomes of the alias."""
    client = place.provider.server.client()
    arns = [place.provider.server.create_key() for _ in range(2)]
    client.create_alias(AliasName="alias/moving", TargetKeyId=arns[0])
    place.kek = moto.kek(by_alias(arns[0], "alias/moving"))
    place.create_key().insert()
    assert [kek for kek, *_ in place.wraps()] == [moto.kek(arns[0])]
    client.update_alias(AliasName="alias/moving", TargetKeyId=arns[1])
    assert place.opens()
    client.delete_alias(AliasName="alias/moving")
    assert place.opens()
