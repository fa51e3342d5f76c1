using CsCheck;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

/// <summary>Ten thousand drivers gone wild: no crash, no hang, and every broken device works again after a reset.</summary>
[Explicit("Takes ten seconds."), Category("Slow")]
public sealed class RandomRingTests
{
    const int Rings = 10_000;

    [TestCase(false), TestCase(true)]
    public void Ten_thousand_corrupted_rings_are_borne_and_a_reset_mends_the_device(bool isPacked)
    {
        ulong features = isPacked ? ulong.MaxValue : ulong.MaxValue & ~VirtioDriver.Packed;
        long malformed = 0, served = 0;
        VirtioBench.Pokes(0x4000).Array[1, 40].Sample(pokes =>
        {
            VirtioBlock? block = null;
            var bench = VirtioBench.Of<VirtioBlock.State>(
                board => block = new VirtioBlock(board, new DiskDrive(1.MiB), "data", DiskTiming.Default), features);
            bench.Play(pokes);
            Interlocked.Add(ref malformed, (long)block!.Transport.Malformed);
            Interlocked.Add(ref served, block.Transport.Save().Queues[0].Position & 0xFF);
            return VirtioBench.WorksAfterReset(bench, features);
        }, iter: Rings);

        TestContext.Out.WriteLine($"{Rings} rings: {malformed} found malformed, {served} chains served.");
        Assert.That(malformed, Is.GreaterThan(500));
        Assert.That(served, Is.GreaterThan(1000));
    }
}
