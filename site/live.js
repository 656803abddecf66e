// What the pages that compute have in common: explorer.html and game.html.

const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// Write a slider's value next to it, and color its track from where it rests.
function showSlider({ input, low, high, rest }, value, text) {
  const at = (number) => { // where the middle of the thumb lies
    const share = (number - low) / (high - low);
    return share ? `calc(var(--thumb) / 2 + ${share} * (100% - var(--thumb)))` : "0%";
  };
  input.value = value;
  input.setAttribute("aria-valuetext", text);
  input.style.setProperty("--from", at(Math.min(value, rest)));
  input.style.setProperty("--to", at(Math.max(value, rest)));
  $(`${input.id}-value`).textContent = text;
}

// The one button that starts and pauses.
function showPlay(going, word) {
  $("play-word").textContent = going ? "Pause" : word;
  $("play-icon").setAttribute("d", going ? "M1 0h3v10H1zM6 0h3v10H6z" : "M1 0l9 5-9 5z");
}

// ---------------------------------------------------------------- noise, as torch draws it

// MT19937, the generator of random bits that torch uses on the CPU: yields whole numbers
// from 0 to 2³² - 1 (Matsumoto and Nishimura 1998).
function* mersenneTwister(seed) {
  const size = 624, middle = 397;
  const state = new Uint32Array(size);
  state[0] = seed;
  for (let i = 1; i < size; i++) {
    const before = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(1812433253, before) + i;
  }
  while (true) {
    for (let i = 0; i < size; i++) {
      const joined = (state[i] & 0x80000000) | (state[(i + 1) % size] & 0x7fffffff);
      const twist = joined & 1 ? 0x9908b0df : 0;
      state[i] = state[(i + middle) % size] ^ (joined >>> 1) ^ twist;
    }
    for (let bits of state) {
      bits ^= bits >>> 11;
      bits ^= (bits << 7) & 0x9d2c5680;
      bits ^= (bits << 15) & 0xefc60000;
      bits ^= bits >>> 18;
      yield bits >>> 0;
    }
  }
}

// The same numbers as torch.randn(count) after manual_seed(seed). torch makes two normal
// numbers out of two uniform ones (Box and Muller 1958), in two ways.
function randn(count, seed) {
  const random = mersenneTwister(seed);
  const bits = () => random.next().value;
  return count < 16 ? randnOneByOne(count, bits) : randnInBlocks(count, bits);
}

// From 16 numbers on: uniform numbers of 24 bits, number j paired with j + 8.
function randnInBlocks(count, bits) {
  const uniform = () => (bits() & 0xffffff) / 2 ** 24;
  const z = Float64Array.from({ length: count }, uniform);
  for (let first = 0; first + 16 <= count; first += 16) boxMullerBlock(z, first);
  if (count % 16 > 0) { // the last 16 are drawn again, so that the block is full
    for (let i = count - 16; i < count; i++) z[i] = uniform();
    boxMullerBlock(z, count - 16);
  }
  return new Float32Array(z);
}

function boxMullerBlock(z, first) {
  for (let j = first; j < first + 8; j++) {
    const radius = Math.sqrt(-2 * Math.log(1 - z[j]));
    const angle = 2 * Math.PI * z[j + 8];
    z[j] = radius * Math.cos(angle);
    z[j + 8] = radius * Math.sin(angle);
  }
}

// Below 16 numbers: uniform numbers of 53 bits, neighbors paired.
function randnOneByOne(count, bits) {
  const uniform = () => ((bits() & 0x1fffff) * 2 ** 32 + bits()) / 2 ** 53;
  const z = [];
  while (z.length < count) {
    const angle = 2 * Math.PI * uniform();
    const radius = Math.sqrt(-2 * Math.log1p(-uniform()));
    z.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return new Float32Array(z.slice(0, count));
}
