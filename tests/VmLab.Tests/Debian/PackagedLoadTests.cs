using System.Security.Cryptography;
using System.Text;
using VmLab.Core;
using VmLab.Testing;

namespace VmLab.Tests.Debian;

/// <summary>Programs of Debian's packages that check their own results, or whose results the host can check.</summary>
[Explicit("Takes tens of thousands of millions of instructions."), Category("Slow")]
public sealed class PackagedLoadTests
{
    const string Input = "/tmp/input", Key = "/tmp/key", Signature = "/tmp/signature";

    static readonly Guest s_guest = Guest.Debian(packages: ["stress-ng", "openssl"]);

    static readonly byte[] s_input =
        Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(1, 200_000).Select(number => $"{number}\n")));

    static readonly byte[] s_vector = [.. Enumerable.Range(0, 16).Select(i => (byte)(0xF0 ^ i * 17))];

    [Test]
    public void Every_method_of_the_CPU_stressor_verifies_its_results_twenty_times() =>
        OneDebian.Run(s_guest, 512.MiB, async vm => Assert.That(
            await vm.Shell("stress-ng --cpu 1 --cpu-method all --verify --cpu-ops 1740", 600.Seconds), Exits.With(0)));

    [TestCase("vecmath vecfp vecshuf vecwide fp matrix matrix-3d crypt hash jpeg zlib")]
    [TestCase("heapsort mergesort qsort radixsort shellsort bsearch hsearch tsearch skiplist tree judy str wcs")]
    [TestCase("fp-error regs rotate context longjmp funccall funcret goto atomic opcode priv-instr x86cpuid far-branch")]
    public void Stressors_that_verify_their_results_find_none_wrong(string stressors) =>
        OneDebian.Run(s_guest, 512.MiB, async vm =>
        {
            foreach (string stressor in stressors.Split(' '))
                Assert.That(await vm.Shell($"stress-ng --{stressor} 1 --verify --timeout 1"), Exits.With(0));
        });

    [Test]
    public void Openssl_measures_its_speed_to_the_end() => OneDebian.Run(s_guest, 512.MiB, async vm =>
    {
        const string Symmetric = "md5 sha1 sha256 sha512 aes-128-cbc aes-256-cbc",
                     Asymmetric = "rsa2048 ecdsap256 ecdhx25519";

        ShellResult result =
            await vm.Shell($"openssl speed -seconds 1 -bytes 8192 {Symmetric} {Asymmetric}", 120.Seconds);

        Assert.That(result, Exits.With(0));
        Assert.That(Symmetric.Split(' '), Is.All.Matches<string>(name => result.Output.Contains($"\n{name} ")));
    });

    [Test]
    public void Digests_are_the_hosts() => OpensslRun(async vm =>
    {
        foreach (string name in (string[])["MD5", "SHA1", "SHA256", "SHA384", "SHA512", "SHA3-256", "SHA3-512"])
            Assert.That(
                await vm.Shell($"openssl dgst -r -{name.ToLowerInvariant()} <{Input}"),
                Prints.Containing(Convert.ToHexStringLower(CryptographicOperations.HashData(new(name), s_input))));
    });

    [Test]
    public void Cipher_texts_are_the_hosts() => OpensslRun(async vm =>
    {
        foreach (int keyBits in (int[])[128, 192, 256])
        {
            using var aes = Aes.Create();
            aes.Key = [.. Enumerable.Range(1, keyBits / 8).Select(i => (byte)(i * 7))];
            string key = Convert.ToHexString(aes.Key), vector = Convert.ToHexString(s_vector);

            ShellResult cipher =
                await vm.Shell($"openssl enc -aes-{keyBits}-cbc -K {key} -iv {vector} <{Input} | sha256sum");

            byte[] expected = SHA256.HashData(aes.EncryptCbc(s_input, s_vector));
            Assert.That(cipher, Prints.Containing(Convert.ToHexStringLower(expected)));
        }
    });

    [Test]
    public void A_key_of_the_guest_signs_as_it_does_on_the_host() => OpensslRun(async vm =>
    {
        Assert.That(await vm.Shell($"openssl genrsa -traditional -out {Key} 2048"), Exits.With(0));
        Assert.That(await vm.Shell($"openssl dgst -sha256 -sign {Key} -out {Signature} {Input}"), Exits.With(0));

        using var rsa = RSA.Create();
        rsa.ImportFromPem(await vm.Files.GetText(Key));
        Assert.That(
            await vm.Files.Get(Signature),
            Is.EqualTo(rsa.SignData(s_input, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)));
    });

    [Test]
    public void The_host_verifies_what_the_guest_signs_on_an_elliptic_curve() => OpensslRun(async vm =>
    {
        Assert.That(await vm.Shell($"openssl ecparam -name prime256v1 -genkey -noout -out {Key}"), Exits.With(0));
        Assert.That(await vm.Shell($"openssl dgst -sha256 -sign {Key} -out {Signature} {Input}"), Exits.With(0));

        using var curve = ECDsa.Create();
        curve.ImportFromPem(await vm.Files.GetText(Key));
        Assert.That(curve.VerifyData(
            s_input, await vm.Files.Get(Signature), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
    });

    static void OpensslRun(Func<Vm, Task> script) => OneDebian.Run(s_guest, 256.MiB, async vm =>
    {
        Assert.That(await vm.Shell($"seq 1 200000 >{Input}"), Exits.With(0));
        await script(vm);
    });
}
