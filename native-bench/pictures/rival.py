"""A rival of rivals.ts: makes as many pictures as each line of standard input says, then prints the CPU time in ms."""
import io
import os
import resource
import subprocess
import sys
import tempfile

HOW, FOLDER, WHICH = sys.argv[1:4]
PAIR = "pair" in sys.argv[4:]
FILES = sorted(os.path.join(FOLDER, name) for name in os.listdir(FOLDER) if name.endswith(".jpg"))


def pillow(path):
    image = Image.open(path).convert("RGB")
    image.thumbnail((800, 800), Image.Resampling.LANCZOS, reducing_gap=None)
    image.save(io.BytesIO(), "JPEG", quality=85)
    if PAIR:
        thumb = ImageOps.fit(image, (150, 150), Image.Resampling.LANCZOS)
        thumb.save(io.BytesIO(), "JPEG", quality=85)


def vipsthumbnail(paths, out):
    output = os.path.join(out, "%s.jpg[Q=85]")
    command = ["vipsthumbnail", "--vips-concurrency=1", "--size", "800x800", "--output", output, *paths]
    subprocess.run(command, check=True)
    if PAIR:
        crop = ["--size", "150x150", "--smartcrop", "centre", "--output", os.path.join(out, "%s-thumb.jpg[Q=85]")]
        subprocess.run([*command[:2], *crop, *paths], check=True)


def spent_ms():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both) * 1000


if HOW == "pillow":
    from PIL import Image, ImageOps

with tempfile.TemporaryDirectory() as out:
    for line in sys.stdin:
        before = spent_ms()
        paths = [FILES[(index + int(WHICH)) % len(FILES)] for index in range(int(float(line)))]
        if HOW == "pillow":
            for path in paths:
                pillow(path)
        else:
            vipsthumbnail(paths, out)
        print(spent_ms() - before, flush=True)
