using VmLab.Core;
using VmLab.Guests;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>The checks that Debian's generic kernel brings along as modules, and that fail to load when they
/// fail.</summary>
public sealed class KernelSelfCheckTests
{
    [Test]
    public void Patched_branches_and_copies_from_user_space_pass_the_kernels_own_checks() =>
        OneDebian.Run(Generic("test_static_keys", "test_user_copy"), 256.MiB, async vm =>
        {
            Assert.That(await vm.Shell("modprobe test_static_keys"), Exits.With(0));
            Assert.That(await vm.Shell("modprobe test_user_copy"), Exits.With(0));
            Assert.That(await vm.Shell("dmesg"), Prints.Containing("test_user_copy: tests passed."));
        });

    [Test, Explicit("Takes 9,000,000,000 instructions."), Category("Slow")]
    public void Programs_compiled_by_the_kernel_pass_its_own_checks() =>
        OneDebian.Run(Generic("test_bpf"), 256.MiB, async vm =>
        {
            Assert.That(await vm.Shell("sysctl net.core.bpf_jit_enable=1 && modprobe test_bpf", within: 120.Seconds), Exits.With(0));
            ShellResult summaries = await vm.Shell("dmesg | grep -o 'test_bpf: .*Summary: .*'");

            Assert.That(summaries, Prints.Exactly(
                """
                test_bpf: Summary: 1026 PASSED, 0 FAILED, [1014/1014 JIT'ed]
                test_bpf: test_tail_calls: Summary: 10 PASSED, 0 FAILED, [10/10 JIT'ed]
                test_bpf: test_skb_segment: Summary: 2 PASSED, 0 FAILED
                """));
        });

    static Guest Generic(params string[] modules) => Guest.Debian(kernel: DebianKernel.Generic, modules: modules);
}
