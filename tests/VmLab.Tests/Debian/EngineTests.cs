using VmLab.Core;
using VmLab.Guests;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>Both engines on stock Debian kernels: not a bit of them may differ.</summary>
public sealed class EngineTests
{
    const string Tracing = "mount -t tracefs none /sys/kernel/tracing && cd /sys/kernel/tracing";

    static readonly VmRef s_alice = new("alice");

    static readonly string[] s_workloads =
    [
        "dd if=/dev/zero bs=1M count=16 2>/dev/null | busybox sha256sum",
        "busybox awk 'BEGIN { for (i = 0; i < 300000; i++) s += i % 7; print s }'",
        "for i in 1 2 3 4; do cat /bin/busybox; done | busybox gzip | busybox wc -c",
        "i=0; while [ $i -lt 100 ]; do busybox true; i=$((i+1)); done",
        "busybox ash -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'",
    ];

    // Each has the kernel patch its own code in another way.
    static readonly string[] s_patches =
    [
        "modprobe test_static_keys",
        $"{Tracing} && echo function > current_tracer && sleep 0.1 && echo nop > current_tracer",
        $"{Tracing} && echo 1 > events/sched/enable && echo 1 > /proc/sys/kernel/sched_schedstats",
        $"{Tracing} && echo 'p:opened do_sys_openat2' > kprobe_events && echo 1 > events/kprobes/opened/enable",
    ];

    [Test]
    public void A_boot_has_the_same_hashes_on_both_engines() =>
        Assert.That(Hashes(5, [], Engine.Translator), Is.EqualTo(Hashes(5, [], Engine.Interpreter)).And.Length.GreaterThan(5));

    [Test, Explicit("Runs 2,000,000,000 instructions on each engine."), Category("Slow")]
    public void Boot_and_workloads_have_the_same_hashes_on_both_engines([Range(1, 10)] int seed)
    {
        string[] interpreted = Hashes((ulong)seed, s_workloads, Engine.Interpreter);

        Assert.That(Hashes((ulong)seed, s_workloads, Engine.Translator), Is.EqualTo(interpreted));
        Assert.That(interpreted, Has.Length.GreaterThan(15));
    }

    [Test, Explicit("Compares after each 100,000 instructions of a boot and more."), Category("Slow")]
    public void Boot_and_workloads_are_the_same_in_lock_step() =>
        Assert.That(Hashes(3, s_workloads, Engine.Translator, Machines.Lockstep.UsualStep), Is.EqualTo(Hashes(3, s_workloads, Engine.Translator)));

    [Test, Explicit("Runs a kernel under its own tracer."), Category("Slow")]
    public void Four_forks_on_two_threads_that_patch_their_kernels_each_in_its_way_are_right_on_both_engines()
    {
        Moment? moment = null;
        Guest guest = Guest.Debian(kernel: DebianKernel.Generic, modules: ["test_static_keys", "test_user_copy"]);
        OneDebian.Run(guest, 256.MiB, async vm => moment = await vm.Lab.Snapshot("up"));
        using Moment booted = moment!;

        string[] interpreted = OnTwoThreads(booted, Engine.Interpreter);

        Assert.That(OnTwoThreads(booted, Engine.Translator), Is.EqualTo(interpreted));
        Assert.That(interpreted, Is.Unique);
    }

    static string[] OnTwoThreads(Moment moment, Engine engine)
    {
        string[] results = new string[s_patches.Length];
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(thread => new Thread(() => Pump.Run(async () =>
        {
            for (int fork = thread; fork < results.Length; fork += 2)
            {
                await using Lab lab = await Lab.StartAsync(moment);
                ShellResult patched = await lab[s_alice].Shell(s_patches[fork]);
                ShellResult after = await lab[s_alice].Shell(string.Join("; ", s_workloads[2..]), within: 120.Seconds);
                results[fork] = $"{patched.ExitCode} {patched.Error}{after.Output}{lab[s_alice].StateHash:x16}";
            }
        }, new LabOptions { Engine = engine, Threads = 1 })))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        Assert.That(results, Has.All.StartsWith("0 "));
        return results;
    }

    /// <summary>The lines of the hash log of a boot and of commands after it, and the last hash.</summary>
    static string[] Hashes(ulong seed, string[] commands, Engine engine, ulong? lockstep = null)
    {
        string path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"engines-{Guid.NewGuid():N}.txt"), last = "";
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(
                Fleet.Define("engines").Seed(seed).Vm("alice", vm => vm.Boot(Guest.Debian()).Memory(128.MiB)));
            await lab.Boot();
            foreach (string command in commands) Assert.That(await lab[s_alice].Shell(command, within: 120.Seconds), Exits.With(0));
            last = $"{lab[s_alice].StateHash:x16}";
        }, new LabOptions { Engine = engine, Hashes = path, Lockstep = lockstep });
        string[] lines = [.. File.ReadAllLines(path), last];
        File.Delete(path);
        return lines;
    }
}
