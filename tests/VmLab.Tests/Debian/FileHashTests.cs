using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using VmLab.Core;
using VmLab.Guests;

namespace VmLab.Tests.Debian;

/// <summary>What the loader puts into memory, the guest's kernel unpacks, and its programs read and hash: the same
/// bytes, and the same hashes, as on the host.</summary>
public sealed class FileHashTests
{
    [Test]
    public void Every_file_in_a_guest_has_the_hash_that_it_has_on_the_host() => Compare(DebianKernel.Cloud, [], 128.MiB);

    [Test, Explicit("Hashes 50 MiB in the guest."), Category("Slow")]
    public void Every_file_of_fifty_packages_has_the_hash_that_it_has_on_the_host() =>
        Compare(DebianKernel.Generic, ["stress-ng", "openssl", "gdb"], 512.MiB);

    static void Compare(DebianKernel kernel, string[] packages, ByteSize memory) =>
        OneDebian.Run(Guest.Debian(packages, kernel: kernel), memory, async vm =>
        {
            DebianGuest stored = await GuestStore.OfUser().DebianAsync(packages, kernel);
            string[] onHost = [.. Hashes(await File.ReadAllBytesAsync(stored.InitramfsPath)).Order(StringComparer.Ordinal)];

            // The root alone, without what is mounted in it; /etc/hosts is written anew at every boot.
            ShellResult hashes = await vm.Shell(
                "find / -xdev -type f ! -path /etc/hosts -exec sha256sum {} +", within: 600.Seconds);

            string[] inGuest = hashes.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
            Assert.That(onHost, Has.Length.GreaterThan(50));
            Assert.That(inGuest.Order(StringComparer.Ordinal), Is.EqualTo(onHost));
        });

    /// <summary>Of every file in a cpio archive, as sha256sum prints it.</summary>
    /// <remarks>Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.</remarks>
    static IEnumerable<string> Hashes(byte[] archive)
    {
        for (int at = 0; ;)
        {
            (int mode, int size, int nameSize) = (Field(at, 1), Field(at, 6), Field(at, 11));
            string name = Encoding.UTF8.GetString(archive, at + 110, nameSize - 1);
            int content = Align(at + 110 + nameSize);
            if (name == "TRAILER!!!") yield break;
            if ((mode & 0xF000) == 0x8000 && name != "etc/hosts")
                yield return $"{Convert.ToHexStringLower(SHA256.HashData(archive.AsSpan(content, size)))}  /{name}";
            at = Align(content + size);
        }

        int Field(int header, int index) => int.Parse(
            Encoding.ASCII.GetString(archive, header + 6 + 8 * index, 8), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
    }

    static int Align(int position) => position + 3 & ~3;
}
