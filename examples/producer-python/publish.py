"""Publishes one job for each creator on the command line, and waits for the results:

    pip install -r requirements.txt
    KAFKA_BROKERS=localhost:9094 python publish.py tiktok charlidamelio khaby.lame
"""

import json
import os
import sys
import uuid
from datetime import datetime, timezone

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

BROKERS = os.environ.get("KAFKA_BROKERS", "localhost:9092")
JOBS_TOPIC = os.environ.get("JOBS_TOPIC", "millrace.jobs")
RESULTS_TOPIC = os.environ.get("RESULTS_TOPIC", "millrace.results")


def job_for(platform: str, creator: str) -> dict[str, object]:
    return {
        "platform": platform,
        "creator_id": creator,
        "job_type": "profile",
        # Our own id lets us know the result; published twice, the job is done once.
        "job_id": str(uuid.uuid4()),
        "requested_at": datetime.now(timezone.utc).isoformat(),
    }


def publish(jobs: list[dict[str, object]]) -> None:
    producer = Producer(
        {
            "bootstrap.servers": BROKERS,
            # No duplicates when a send is repeated.
            "enable.idempotence": True,
            # librdkafka's own default is another hash than Java's: whoever writes, a creator's jobs stay in order.
            "partitioner": "murmur2_random",
            "compression.type": "zstd",
            "linger.ms": 20,
        }
    )
    failures: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error.str())

    for job in jobs:
        producer.produce(
            JOBS_TOPIC,
            key=f"{job['platform']}:{job['creator_id']}",
            value=json.dumps(job, ensure_ascii=False).encode(),
            on_delivery=delivered,
        )
        producer.poll(0)
    left = producer.flush(30)
    if failures or left:
        raise SystemExit(f"not published: {left} unanswered, {failures}")


def wait_for(open_ids: set[str]) -> None:
    # A service would keep one consumer of a fixed group; this program wants the results of its own jobs alone.
    consumer = Consumer(
        {
            "bootstrap.servers": BROKERS,
            "group.id": f"producer-python-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([RESULTS_TOPIC])
    try:
        while open_ids:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if message.error() is not None:
                raise KafkaException(message.error())
            result = json.loads(message.value())
            if result["job_id"] in open_ids:
                open_ids.remove(result["job_id"])
                print(json.dumps(result, ensure_ascii=False), flush=True)
    finally:
        consumer.close()


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit("usage: python publish.py <platform> <creator>...")
    platform, *creators = sys.argv[1:]
    jobs = [job_for(platform, creator) for creator in creators]
    publish(jobs)
    print(f"published {len(jobs)} jobs to {JOBS_TOPIC}", file=sys.stderr)
    wait_for({str(job["job_id"]) for job in jobs})


if __name__ == "__main__":
    main()
