using System.Buffers.Binary;
using System.Security.Cryptography;

namespace VmLab.Machines.Migrating;

/// <summary>
/// Seals the messages of one direction by a key: who has not got the key can neither read nor make nor change one, nor leave one out,
/// repeat or exchange them.
/// </summary>
/// <remarks>AES-256 in Galois/Counter Mode; the nonce is the message's number. Source: NIST SP 800-38D, §7, §8.2.1.</remarks>
sealed class MigrationSeal : IDisposable
{
    public const int KeySize = 32;

    /// <summary>The most that a message's body has, in bytes.</summary>
    public const int MostBytes = 64 << 20;

    const int MostUnknown = 1 << 20;   // of a first message, whose sender may not have the key
    const int LengthSize = 4, TagSize = 16, NonceSize = 12;

    readonly AesGcm _cipher;
    ulong _sealed, _opened;
    byte[] _waiting = new byte[1 << 16];
    int _count;

    /// <param name="key">Of this direction alone.</param>
    public MigrationSeal(ReadOnlySpan<byte> key) => _cipher = new AesGcm(key, TagSize);

    /// <summary>A key for one direction of one migration.</summary>
    /// <param name="shared">What both sides know and nobody else.</param>
    /// <param name="greetings">What both sides drew for this migration.</param>
    public static byte[] DeriveKey(ReadOnlySpan<byte> shared, ReadOnlySpan<byte> greetings, string direction) =>
        HKDF.DeriveKey(HashAlgorithmName.SHA256, shared.ToArray(), KeySize, greetings.ToArray(), System.Text.Encoding.UTF8.GetBytes(direction));

    /// <summary>The bytes of a message for the wire: its length, what it says, and the tag.</summary>
    public byte[] Seal(MigrationMessageKind kind, ReadOnlySpan<byte> body)
    {
        int length = 1 + body.Length;
        byte[] wire = new byte[LengthSize + length + TagSize];
        BinaryPrimitives.WriteInt32LittleEndian(wire, length);
        wire[LengthSize] = (byte)kind;
        body.CopyTo(wire.AsSpan(LengthSize + 1));
        Span<byte> text = wire.AsSpan(LengthSize, length), nonce = stackalloc byte[NonceSize];
        BinaryPrimitives.WriteUInt64LittleEndian(nonce, _sealed++);
        _cipher.Encrypt(nonce, text, text, wire.AsSpan(LengthSize + length), wire.AsSpan(0, LengthSize));
        return wire;
    }

    /// <summary>Takes in what came over the wire, in whatever pieces.</summary>
    public void Receive(ReadOnlySpan<byte> bytes)
    {
        if (_count + bytes.Length > _waiting.Length) Array.Resize(ref _waiting, Math.Max(_count + bytes.Length, 2 * _waiting.Length));
        bytes.CopyTo(_waiting.AsSpan(_count));
        _count += bytes.Length;
    }

    /// <summary>Opens the next message, if all of it has come.</summary>
    /// <exception cref="MigrationException">It is none, or damaged, or sealed by another key.</exception>
    public bool TryOpen(out MigrationMessage message)
    {
        message = default;
        if (_count < LengthSize) return false;
        int length = BinaryPrimitives.ReadInt32LittleEndian(_waiting);
        if (length < 1 || length > (_opened == 0 ? MostUnknown : MostBytes) + 1)
            throw new MigrationException($"A message of a migration cannot have {length} bytes.");
        int whole = LengthSize + length + TagSize;
        if (_count < whole) return false;
        byte[] text = new byte[length];
        Span<byte> nonce = stackalloc byte[NonceSize];
        BinaryPrimitives.WriteUInt64LittleEndian(nonce, _opened++);
        try
        {
            _cipher.Decrypt(nonce, _waiting.AsSpan(LengthSize, length), _waiting.AsSpan(LengthSize + length, TagSize), text,
                _waiting.AsSpan(0, LengthSize));
        }
        catch (AuthenticationTagMismatchException)
        {
            throw new MigrationException("A message of the migration is damaged, or of somebody with another key: give both sides the same.");
        }
        _waiting.AsSpan(whole, _count - whole).CopyTo(_waiting);
        _count -= whole;
        var kind = (MigrationMessageKind)text[0];
        if (!Enum.IsDefined(kind)) throw new MigrationException($"A migration has no message {text[0]}.");
        message = new MigrationMessage(kind, text.AsMemory(1));
        return true;
    }

    public void Dispose() => _cipher.Dispose();
}
