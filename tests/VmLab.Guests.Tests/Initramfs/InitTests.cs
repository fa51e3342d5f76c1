using System.Diagnostics;
using System.Text;
using VmLab.Guests.Initramfs;

namespace VmLab.Guests.Tests.Initramfs;

[Platform("Linux")]
public sealed class InitTests
{
    static readonly CpioArchiveTests.Entry[] s_root = [.. CpioArchiveTests.Read(Base())];

    [TestCase("init")]
    [TestCase("etc/profile")]
    public void Script_has_no_syntax_error(string path)
    {
        using var shell = Process.Start(new ProcessStartInfo("sh", "-n") { RedirectStandardInput = true })!;
        shell.StandardInput.Write(Text(path));
        shell.StandardInput.Close();
        shell.WaitForExit();

        Assert.That(shell.ExitCode, Is.Zero);
    }

    [Test]
    public void Init_is_run_by_busybox_and_the_kernel_may_run_it()
    {
        Assert.That(Text("init"), Does.StartWith("#!/bin/busybox sh\n"));
        Assert.That(s_root.Single(entry => entry.Path == "init").Field(1), Is.EqualTo(0x81ED));
    }

    [Test]
    public void Both_serial_ports_are_served() =>
        Assert.That(
            Text("etc/inittab"),
            Does.Contain("ttyS0::respawn:-/bin/sh\n").And.Contain("ttyS1::respawn:/usr/sbin/vmlab-agent\n"));

    [Test]
    public void Shell_says_what_the_lab_waits_for()
    {
        Assert.That(
            Text("etc/profile"), Does.Contain("echo \"vmlab: $host is up\"").And.Contain("root@$host:\"'$PWD# '"));
        Assert.That(DebianGuest.BannerOf("alice"), Is.EqualTo("vmlab: alice is up"));
        Assert.That(DebianGuest.PromptOf("alice"), Is.EqualTo("root@alice:/# "));
    }

    static string Text(string path) => Encoding.UTF8.GetString(s_root.Single(entry => entry.Path == path).Content);

    static byte[] Base()
    {
        var root = new RootTree();
        GuestRoot.AddBase(root, TestPackages.Busybox);
        return root.ToCpio();
    }
}
