using VmLab.Core;

namespace VmLab.Tests;

/// <summary>Disks in moments: images by what they hold, and faults by the seed.</summary>
public sealed class DiskMomentTests
{
    const int ImageSize = 1 << 20;

    string _folder = "";

    string Image => Path.Combine(_folder, "data.img");

    string Saved => Path.Combine(_folder, "there.moment");

    [SetUp]
    public void MakeImage()
    {
        _folder = Directory.CreateTempSubdirectory("vmlab-disks").FullName;
        WriteImage(last: 1);
    }

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void A_moment_goes_on_with_the_image_that_it_was_saved_with() => OnDisk(async (lab, vm) =>
    {
        await Save(lab);
        WriteImage(last: 2);
        WriteImage(last: 1);

        await using Lab later = await Lab.StartAsync(Moment.Load(Saved));

        Assert.That(later[vm].StateHash, Is.EqualTo(lab[vm].StateHash));
    });

    [Test]
    public void A_changed_image_is_refused() => OnDisk(async (lab, _) =>
    {
        await Save(lab);
        WriteImage(last: 2);

        Assert.That(() => Moment.Load(Saved), Throws.TypeOf<LabException>().With.Message.Contains($"{Image} holds something else"));
    });

    [Test]
    public void A_missing_image_is_refused() => OnDisk(async (lab, _) =>
    {
        await Save(lab);
        File.Delete(Image);

        Assert.That(() => Moment.Load(Saved), Throws.TypeOf<LabException>().With.Message.Contains($"{Image} cannot be opened"));
    });

    [Test]
    public void What_a_disk_draws_follows_the_seed_of_the_fork() => OnDisk(async (lab, vm) =>
    {
        using Moment moment = await lab.Snapshot("there");
        await using Lab same = await lab.Fork(moment), one = await lab.Fork(moment, seed: 8), again = await lab.Fork(moment, seed: 8);

        Assert.That(Stream(same), Is.EqualTo(Stream(lab)));
        Assert.That(Stream(one), Is.Not.EqualTo(Stream(lab)));
        Assert.That(Stream(again), Is.EqualTo(Stream(one)));

        Rng Stream(Lab of) => of[vm].Powered.Machine.Pc.FaultyDrive("data").Save().Random;
    });

    async Task Save(Lab lab)
    {
        await lab.RunFor(1.Milliseconds);
        using Moment moment = await lab.Snapshot("there");
        moment.Save(Saved);
    }

    void WriteImage(byte last)
    {
        byte[] bytes = new byte[ImageSize];
        bytes[^1] = last;
        File.WriteAllBytes(Image, bytes);
    }

    void OnDisk(Func<Lab, VmRef, Task> body)
    {
        Fleet fleet = Fleet.Define("disks").Seed(5)
            .Vm("one", out var one, vm => vm.Boot(Guest.Program(MomentFileTests.Chatter)).Memory(4.MiB).Disk("data", Image));
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(fleet);
            await body(lab, one);
        }, new LabOptions { Threads = 1 });
    }
}
