import openai

import sottovoce

url = "http://localhost:8080"
with sottovoce.connect(url, simulated=True) as enclave, sottovoce.http_client(enclave) as http:
    program = openai.OpenAI(base_url=f"{url}/v1", api_key="-", http_client=http)
    answer = program.chat.completions.create(
        model=enclave.models()[0], messages=[{"role": "user", "content": "What is gravity?"}], max_tokens=40
    )
    print(answer.choices[0].message.content)
