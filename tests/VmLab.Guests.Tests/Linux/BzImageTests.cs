using CsCheck;
using VmLab.Guests.Linux;
using VmLab.Guests.Tests.Compression;

namespace VmLab.Guests.Tests.Linux;

public sealed class BzImageTests
{
    [Test]
    public void Header_is_read()
    {
        BzImage image = BzImage.Parse(TestKernel.BzImage(), "vmlinuz");

        Assert.That(image.LoadAddress, Is.EqualTo(TestKernel.LoadAddress));
        Assert.That(image.MemoryNeeded, Is.EqualTo(TestKernel.InitSize));
        Assert.That(image.HighestInitrdAddress, Is.EqualTo(TestKernel.HighestInitrd));
        Assert.That(image.LongestCommandLine, Is.EqualTo(TestKernel.LongestCommandLine));
        Assert.That(image.Header.Length, Is.EqualTo(0x202 + 0x6A - 0x1F1));
    }

    [Test]
    public void Payload_unpacks_whatever_it_is_packed_with()
    {
        byte[] kernel = TestKernel.Vmlinux();
        byte[][] payloads =
        [
            TestKernel.Gzip(kernel),
            TestKernel.WithSize(UnpackerTests.Zstandard(kernel), kernel.Length),
            TestKernel.WithSize(UnpackerTests.Lz4Legacy(kernel, 1000), kernel.Length),
            kernel,
        ];

        Assert.That(payloads.Select(payload => KernelPayload.Unpack(payload, "vmlinuz")), Is.All.EqualTo(kernel));
    }

    [Test]
    public void Payload_of_another_size_than_it_says_is_refused()
    {
        byte[] payload = TestKernel.WithSize(UnpackerTests.Zstandard(TestKernel.Vmlinux()), 17);

        Assert.That(() => KernelPayload.Unpack(payload, "vmlinuz"), Refused.Saying("its payload is not whole"));
    }

    [Test]
    public void What_is_no_kernel_is_refused() =>
        Assert.That(
            () => BzImage.Parse("#!/bin/sh\necho I am a script\n"u8.ToArray(), "notes.txt"),
            Refused.Saying("notes.txt is not a Linux kernel"));

    [Test]
    public void Truncated_kernel_is_refused_with_both_sizes() =>
        Assert.That(
            () => BzImage.Parse(TestKernel.BzImage()[..2300], "vmlinuz"),
            Refused.Saying("truncated", "2,300 bytes"));

    [Test]
    public void Old_protocol_is_refused_by_its_number() =>
        Assert.That(
            () => BzImage.Parse(With(0x206, 2, 0x0204), "vmlinuz"),
            Refused.Saying("boot protocol 2.04"));

    [Test]
    public void Kernel_without_64_bit_entry_is_refused() =>
        Assert.That(
            () => BzImage.Parse(With(0x236, 2, 0), "vmlinuz"),
            Refused.Saying("no 64-bit entry point"));

    [Test]
    public void Mad_addresses_are_refused() =>
        Assert.That(
            () => BzImage.Parse(With(0x258, 8, ulong.MaxValue - 5), "vmlinuz"),
            Refused.Saying("make no sense"));

    [Test]
    public void Damaged_kernel_never_gives_more_than_a_message() =>
        Damage.Of(TestKernel.BzImage()).Sample(image => Damage.IsRefusedAtMost(() =>
            KernelPayload.Unpack(BzImage.Parse(image, "vmlinuz").Payload, "vmlinuz")));

    static byte[] With(int offset, int size, ulong value)
    {
        byte[] image = TestKernel.BzImage();
        TestKernel.Put(image, offset, size, value);
        return image;
    }
}
