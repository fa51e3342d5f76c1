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
    byte[] _wire = [], _waiting = new byte[1 << 16];
    int _start, _end;   // of what waits

    /// <param name="key">Of this direction alone.</param>
    public MigrationSeal(ReadOnlySpan<byte> key) => _cipher = new AesGcm(key, TagSize);

    /// <summary>A key for one direction of one migration.</summary>
    /// <param name="shared">What both sides know and nobody else.</param>
    /// <param name="greetings">What both sides drew for this migration.</param>
    public static byte[] DeriveKey(ReadOnlySpan<byte> shared, ReadOnlySpan<byte> greetings, string direction) =>
        HKDF.DeriveKey(HashAlgorithmName.SHA256, shared.ToArray(), KeySize, greetings.ToArray(), System.Text.Encoding.UTF8.GetBytes(direction));

    /// <summary>The bytes of a message for the wire, until the next one: its length, what it says, and the tag.</summary>
    public ReadOnlySpan<byte> Seal(MigrationMessageKind kind, ReadOnlySpan<byte> body)
    {
        int length = 1 + body.Length, whole = LengthSize + length + TagSize;
        if (_wire.Length < whole) _wire = GC.AllocateUninitializedArray<byte>(whole);
        BinaryPrimitives.WriteInt32LittleEndian(_wire, length);
        _wire[LengthSize] = (byte)kind;
        body.CopyTo(_wire.AsSpan(LengthSize + 1));
        Span<byte> text = _wire.AsSpan(LengthSize, length), nonce = stackalloc byte[NonceSize];
        BinaryPrimitives.WriteUInt64LittleEndian(nonce, _sealed++);
        _cipher.Encrypt(nonce, text, text, _wire.AsSpan(LengthSize + length, TagSize), _wire.AsSpan(0, LengthSize));
        return _wire.AsSpan(0, whole);
    }

    /// <summary>Takes in what came over the wire, in whatever pieces.</summary>
    public void Receive(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Room(bytes.Length));
        Receive(bytes.Length);
    }

    /// <summary>Where the next bytes from the wire may be put, at least so many.</summary>
    public Span<byte> Room(int least)
    {
        if (_waiting.Length - _end < least)
        {
            int count = _end - _start;
            byte[] room = _waiting.Length - count < least ? new byte[Math.Max(count + least, 2 * _waiting.Length)] : _waiting;
            _waiting.AsSpan(_start, count).CopyTo(room);
            (_waiting, _start, _end) = (room, 0, count);
        }
        return _waiting.AsSpan(_end);
    }

    /// <summary>So many bytes were put into the room.</summary>
    public void Receive(int count) => _end += count;

    /// <summary>Opens the next message, if all of it has come; its body is good until something is received.</summary>
    /// <exception cref="MigrationException">It is none, or damaged, or sealed by another key.</exception>
    public bool TryOpen(out MigrationMessage message)
    {
        message = default;
        Span<byte> waiting = _waiting.AsSpan(_start, _end - _start);
        if (waiting.Length < LengthSize) return false;
        int length = BinaryPrimitives.ReadInt32LittleEndian(waiting);
        if (length < 1 || length > (_opened == 0 ? MostUnknown : MostBytes) + 1)
            throw new MigrationException($"A message of a migration cannot have {length} bytes.");
        int whole = LengthSize + length + TagSize;
        if (waiting.Length < whole) return false;
        Span<byte> text = waiting.Slice(LengthSize, length), nonce = stackalloc byte[NonceSize];
        BinaryPrimitives.WriteUInt64LittleEndian(nonce, _opened++);
        try
        {
            _cipher.Decrypt(nonce, text, waiting.Slice(LengthSize + length, TagSize), text, waiting[..LengthSize]);
        }
        catch (AuthenticationTagMismatchException)
        {
            throw new MigrationException("A message of the migration is damaged, or of somebody with another key: give both sides the same.");
        }
        var kind = (MigrationMessageKind)text[0];
        if (!Enum.IsDefined(kind)) throw new MigrationException($"A migration has no message {text[0]}.");
        message = new MigrationMessage(kind, _waiting.AsMemory(_start + LengthSize + 1, length - 1));
        _start += whole;
        if (_start == _end) _start = _end = 0;
        return true;
    }

    public void Dispose() => _cipher.Dispose();
}
