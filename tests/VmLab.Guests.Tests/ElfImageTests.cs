using CsCheck;
using VmLab.Core;

namespace VmLab.Guests.Tests;

public sealed class ElfImageTests
{
    [Test]
    public void Segments_and_entry_are_read()
    {
        ElfImage image = ElfImage.Parse(TestKernel.Vmlinux(), "vmlinux");

        Assert.That(image.EntryAddress, Is.EqualTo(TestKernel.Entry));
        Assert.That(image.Start, Is.EqualTo(TestKernel.LoadAddress));
        Assert.That(image.End, Is.EqualTo(TestKernel.LoadAddress + TestKernel.SegmentSize + TestKernel.BssSize));
        Assert.That(image.Segments.Single().VirtualAddress, Is.EqualTo(0xFFFF_FFFF_8100_0000));
    }

    [Test]
    public void File_for_another_processor_is_refused()
    {
        byte[] elf = TestKernel.Vmlinux();
        TestKernel.Put(elf, 18, 2, 183);

        Assert.That(
            () => ElfImage.Parse(elf, "vmlinux"),
            Refused.Saying("not for x86-64"));
    }

    [Test]
    public void File_without_its_last_segment_is_refused() =>
        Assert.That(
            () => ElfImage.Parse(TestKernel.Vmlinux()[..^1], "vmlinux"),
            Refused.Saying("it ends before its segments"));

    [Test]
    public void Segment_outside_memory_is_refused()
    {
        using var machine = new TestMachine(2.MiB);

        Assert.That(
            () => ElfImage.Parse(TestKernel.Vmlinux(address: 64 << 20), "vmlinux").Load(machine.Memory, "vmlinux"),
            Refused.Saying("the machine has 2 MiB"));
    }

    [Test]
    public void Damaged_file_never_gives_more_than_a_message()
    {
        using var machine = new TestMachine(4.MiB);

        Damage.Of(TestKernel.Vmlinux()).Sample(elf => Damage.IsRefusedAtMost(() =>
            ElfImage.Parse(elf, "vmlinux").Load(machine.Memory, "vmlinux")));
    }
}
